"""Two gloo processes with compiled parts train as with plain ones."""

import pytest
import torch

from eclip_mm.testing import end_rank
from helpers.processes import start_ranks
from helpers.rank_runs import DDP, SHARDED, assert_same_training, load, train_rank

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CASES = {'ddp': DDP, 'sharded': SHARDED}
#: dynamo's and autograd's part, without a compiler for the result
AOT = dict(backend='aot_eager')


def _train_all(rank, folder):
    for name, case in CASES.items():
        train_rank(f'{folder}/{name}', small=True, **case)
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        train_rank(f'{folder}/{name}_compiled', small=True, compile=AOT, **case)
        graphs = torch._dynamo.utils.counters['stats']['unique_graphs']
        torch.save(graphs, f'{folder}/{name}_graphs{rank}.pth')
    end_rank()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    start_ranks(_train_all, str(folder))
    return folder


@pytest.mark.parametrize('name', CASES)
def test_compiled_parts_train_as_plain_ones(runs, name):
    assert_same_training(load(runs / f'{name}_compiled'), load(runs / name))
    # image encoder, text encoder and decoder, or a layer of each, in two networks; a head
    assert torch.load(runs / f'{name}_graphs0.pth') >= 7
