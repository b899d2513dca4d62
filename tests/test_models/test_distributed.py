"""Several gloo processes with parts of a batch train as one process with the whole batch.

In float64, over three steps: the queue of the first is part of the second, and wraps around before
the third.
"""

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from eclip_mm.registry import MODELS
from eclip_mm.testing import end_rank, fake_batch, tiny_model_config
from helpers.processes import start_ranks

pytestmark = [pytest.mark.slow, pytest.mark.alone]

BATCH, STEPS = 8, 3
QUEUE = dict(type='MomentumQueue', size=12)  # a batch and a half


def _build(chunk_size=None):
    """With a chunk size, the contrastive losses are in tiles of one row, too."""
    cfg = tiny_model_config(chunk_size=chunk_size)
    cfg['pretext_heads']['inter']['queue'] = QUEUE
    if chunk_size:
        for task in ('itc', 'inter', 'itm'):
            cfg['pretext_heads'][task]['max_elements'] = BATCH
    torch.manual_seed(0)
    model = MODELS.build(cfg).double()
    with torch.no_grad():  # a teacher unlike its student: its gradient path must be empty
        for param in model.teacher.parameters():
            param.add_(0.01)
    return model


def _batch(rows, step):
    batch = fake_batch(BATCH, seed=step)
    # two rows of one product, one on each rank
    batch['data_samples'][6].set_metainfo(dict(product_id=batch['data_samples'][1].product_id))
    return dict(
        inputs={k: v[rows] for k, v in batch['inputs'].items()},
        data_samples=batch['data_samples'][rows],
    )


def _train(model, inner, rows):
    """Names and values of the terms, (steps, terms); gradients add up in the model."""
    inner.data_preprocessor.double()
    values = []
    for step in range(STEPS):
        data = inner.data_preprocessor(_batch(rows, step))
        data['inputs']['images'] = data['inputs']['images'].double()
        terms = model(**data, mode='loss')
        sum(v for k, v in terms.items() if 'loss' in k).backward()
        inner.finish_step()
        values.append(torch.stack([v.detach().double() for v in terms.values()]))
    return list(terms), torch.stack(values)


def _rank(rank, size, chunk_size, out):
    dist.init_process_group('gloo')
    inner = _build(chunk_size)
    model = DistributedDataParallel(inner)
    # dealt like cards, as the sampler does
    _, values = _train(model, inner, slice(rank, BATCH, size))
    dist.all_reduce(values)
    found = dict(values=values / size, grads=[p.grad for p in inner.parameters()])
    torch.save(dict(found, queue=inner.heads['inter'].queue.state_dict()), f'{out}/{rank}.pth')
    end_rank()


def assert_same(found, wanted, name):
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12, msg=lambda m: f'{name}: {m}')


@pytest.mark.parametrize('size, chunk_size', [(2, None), (2, 3), (4, 1)])
def test_several_processes_give_the_loss_and_gradients_of_one(tmp_path, size, chunk_size):
    model = _build()
    names, values = _train(model, model, slice(0, BATCH))

    start_ranks(_rank, size, chunk_size, str(tmp_path), size=size)
    first, *others = (torch.load(tmp_path / f'{rank}.pth') for rank in range(size))
    for name, value, other in zip(names, values.T, first['values'].T, strict=True):
        assert_same(other, value, name)
    for (name, param), grad in zip(model.named_parameters(), first['grads'], strict=True):
        if param.grad is None:
            assert grad is None, name
        else:
            assert_same(grad, param.grad, name)
    queue = model.heads['inter'].queue.state_dict()
    assert queue['num_seen'] == BATCH * STEPS
    for name, value in queue.items():
        assert_same(first['queue'][name], value, name)
        assert all(torch.equal(other['queue'][name], first['queue'][name]) for other in others)
