"""Two gloo processes, with DDP or a sharded model, train as one process with the whole batch.

The settings are those of configs/_base_/default_runtime.py (static graph, gradients as views of
the buckets) and configs/eclip_vitl16_fsdp.py. A rank takes half of the batch; AdamW, clipping, the
momentum model, checkpoints and their resumption are all in the path.
"""

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from scaling import gathered_bytes

from eclip_mm.engine.sharded import unsharded
from eclip_mm.registry import HOOKS, MODELS, RUNNERS
from eclip_mm.testing import end_rank, tiny_model_config
from eclip_mm.utils.dist import local_part
from eclip_mm.utils.finite import NonFiniteLossError
from helpers.processes import start_ranks
from helpers.rank_runs import (
    DDP,
    SHARDED,
    STEPS,
    assert_same_training,
    config,
    load,
    train,
    train_rank,
)
from helpers.runs import BATCH

pytestmark = [pytest.mark.slow, pytest.mark.alone]

#: name -> what its config adds; chunks of one product on either side
CASES = {
    'ddp': DDP,
    'sharded': SHARDED,
    'ddp_recomputing': dict(DDP, recompute=True),
    'sharded_recomputing': dict(SHARDED, recompute=True),
    'ddp_chunked': dict(DDP, chunk_size=1),
    'sharded_chunked': dict(SHARDED, chunk_size=1),
    'ddp_accumulating': dict(DDP, accumulate=2),
    'sharded_accumulating': dict(SHARDED, accumulate=2),
}
TEXTS = torch.tensor([[2, 5, 3], [2, 3, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])


class Sent:
    """Counts the bytes of gathers, and twice those of sums, for all but single numbers."""

    def __init__(self):
        self.bytes, self.gather, self.reduce = 0, dist.all_gather, dist.all_reduce
        dist.all_gather, dist.all_reduce = self.all_gather, self.all_reduce

    def all_gather(self, out, x, *args, **kwargs):
        self.bytes += len(out) * x.numel() * x.element_size()
        return self.gather(out, x, *args, **kwargs)

    def all_reduce(self, x, *args, **kwargs):
        self.bytes += 2 * x.numel() * x.element_size() if x.numel() > 1 else 0
        return self.reduce(x, *args, **kwargs)

    def stop(self) -> int:
        dist.all_gather, dist.all_reduce = self.gather, self.reduce
        return self.bytes


def _train_all(rank, folder):
    notes = {}
    for name, case in CASES.items():
        sent = Sent()
        runner = train_rank(f'{folder}/{name}', **case)
        notes[f'{name}_sent'] = sent.stop()
        if name == 'sharded':
            held = (local_part(param.detach()).numel() for param in runner.model.parameters())
            notes['held'] = sum(held)
            with unsharded(runner.model), torch.no_grad():
                notes['text_feats'] = runner.model.network.encode_text(*TEXTS)
    torch.save(notes, f'{folder}/notes{rank}.pth')
    # sharded, from the second step of the sharded run and from that of DDP
    for name, source in (('resumed', 'sharded'), ('resumed_ddp', 'ddp')):
        start = dict(resume=True, load_from=f'{folder}/{source}/iter_2.pth')
        train_rank(f'{folder}/{name}', **SHARDED, **start)
    end_rank()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Folder with a work dir of each case, and of ``one``, a single process."""
    folder = tmp_path_factory.mktemp('runs')
    train(config(folder / 'one'))
    train(config(folder / 'one_accumulating', accumulate=2))
    start_ranks(_train_all, str(folder))
    return folder


def updates(name: str) -> int:
    """Of the weights, in a case."""
    return STEPS // CASES[name].get('accumulate', 1)


@pytest.mark.parametrize('name', [n for n in CASES if n.startswith('sharded')])
def test_a_sharded_model_trains_as_ddp(runs, name):
    """Each rank has the same products and random numbers; only the order of sums differs."""
    other = load(runs / name.replace('sharded', 'ddp'))
    assert_same_training(load(runs / name), other, updates=updates(name))


@pytest.mark.parametrize('name', CASES)
def test_two_ranks_train_as_one(runs, name):
    one = load(runs / ('one_accumulating' if 'accumulating' in name else 'one'))
    assert_same_training(load(runs / name), one, ranks_differ=True, updates=updates(name))


def test_the_comparison_can_fail(runs):
    """Two steps move weights, momentum model and queue beyond the tolerance, at most 5e-6 here."""
    early, late = load(runs / 'one', 2)['state_dict'], load(runs / 'one')['state_dict']
    for name in ('network.image_proj.weight', 'teacher.network.image_proj.weight', 'logit_scale'):
        moved = (early[name] - late[name]).abs().max()
        assert moved > (2e-5 if name.startswith('teacher') else 1e-4), name
    assert int(late['heads.inter.queue.num_seen']) == BATCH * STEPS


def test_each_rank_holds_half(runs):
    held = [torch.load(runs / f'notes{rank}.pth')['held'] for rank in (0, 1)]
    total = sum(v.numel() for k, v in load(runs / 'one')['state_dict'].items() if 'queue' not in k)
    assert abs(sum(held) - total) < 0.01 * total
    assert max(held) < 0.6 * total


def test_what_is_gathered_is_what_the_calculation_of_scaling_says(runs):
    """For any number of chunks, with DDP and with a sharded model."""
    for rank in (0, 1):
        notes = torch.load(runs / f'notes{rank}.pth')
        for name in CASES:
            assert notes[f'{name}_sent'] == STEPS * gathered_bytes(BATCH, 16), name


@pytest.mark.parametrize('name, source', [('resumed', 'sharded'), ('resumed_ddp', 'ddp')])
def test_resumed_in_the_middle(runs, name, source):
    """Also where a DDP run wrote the checkpoint; steps 3 and 4 repeat those of the source."""
    ours, theirs = load(runs / name), load(runs / source)
    assert ours['meta']['iter'] == theirs['meta']['iter'] == STEPS
    assert_same_training(ours, theirs)


def test_one_process_resumes_from_a_sharded_checkpoint(runs, tmp_path):
    """An unsharded model also loads its weights strictly."""
    cfg = config(tmp_path, resume=True, load_from=str(runs / 'sharded/iter_2.pth'))
    train(cfg)
    assert_same_training(load(tmp_path), load(runs / 'one'), ranks_differ=True)
    model = MODELS.build(cfg.model)
    model.load_state_dict(load(runs / 'sharded')['state_dict'], strict=True)


def test_parts_may_be_called_from_outside(runs):
    """As ``ClassPromptHook`` does between training and validation."""
    model = MODELS.build(config(runs).model)
    model.load_state_dict(load(runs / 'sharded')['state_dict'])
    for rank in (0, 1):
        feats = torch.load(runs / f'notes{rank}.pth')['text_feats']
        torch.testing.assert_close(feats, model.network.encode_text(*TEXTS))


def test_texts_in_groups_are_refused():
    """Two ranks with texts of other lengths would gather other numbers of times."""
    from eclip_mm.engine.sharded import ShardedRunner

    class Two(ShardedRunner):
        distributed = True

    cfg = tiny_model_config()
    cfg['text_encoder']['length_groups'] = 2
    model = MODELS.build(cfg)
    with pytest.raises(ValueError, match=r'text_encoder\.length_groups=1'):
        Two.wrap_model(Two.__new__(Two), None, model)


def test_pictures_on_one_rank_are_refused(tmp_path, monkeypatch):
    from eclip_mm.engine.sharded import ShardedRunner

    cfg = config(tmp_path, **SHARDED)
    cfg.custom_hooks.append(dict(type='PictureHook'))
    runner = RUNNERS.build(cfg)
    monkeypatch.setattr(ShardedRunner, 'distributed', True)
    with pytest.raises(ValueError, match='PictureHook.*remove it from custom_hooks'):
        runner.train()


@HOOKS.register_module(force=True)
class PoisonHook(Hook):
    """Before the third step."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2:
            local_part(runner.model.logit_scale.detach()).fill_(float('nan'))


def _diverge(rank, folder):
    with pytest.raises(NonFiniteLossError, match='nonfinite_iter_2.pth'):
        train_rank(f'{folder}/run', hooks=[dict(type='PoisonHook')], **SHARDED)
    end_rank()


def test_all_ranks_of_a_sharded_model_save_the_step_that_is_not_finite(tmp_path):
    start_ranks(_diverge, tmp_path)
    assert load(tmp_path / 'run', 2)['meta']['iter'] == 2
    saved = torch.load(tmp_path / 'run/nonfinite_iter_2.pth', weights_only=True)
    assert saved['meta']['iter'] == 2
    assert saved['state_dict'].keys() == load(tmp_path / 'run', 2)['state_dict'].keys()
