"""Two gloo processes, by DDP or with a divided model, train as one process with the whole batch.

The settings are those of configs/_base_/default_runtime.py (static graph, gradients as views of
the buckets) and configs/eclip_vitl16_fsdp.py. A rank takes half of the batch; AdamW, clipping, the
momentum model, checkpoints and their resumption are all in the path.
"""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.config import Config

from eclip_mm.engine import prepare_cpu_launch
from eclip_mm.engine.dist import local_part
from eclip_mm.engine.sharded import gathered
from eclip_mm.registry import MODELS, RUNNERS
from eclip_mm.testing import end_rank, tiny_model_config
from eclip_mm.utils.scaling import gathered_bytes

from .helpers import BATCH, runner_config

DDP = dict(
    model_wrapper_cfg=dict(
        type='MMDistributedDataParallel',
        static_graph=True,
        gradient_as_bucket_view=True,
        broadcast_buffers=False,
    )
)
SHARDED = dict(runner_type='ShardedRunner')
#: name -> what its config adds; chunks of one product on either side
CASES = {
    'ddp': DDP,
    'sharded': SHARDED,
    'ddp_recomputing': dict(DDP, recompute=True),
    'sharded_recomputing': dict(SHARDED, recompute=True),
    'ddp_chunked': dict(DDP, chunk_size=1),
    'sharded_chunked': dict(SHARDED, chunk_size=1),
}
STEPS = 4
TEXTS = torch.tensor([[2, 5, 3], [2, 3, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])


def config(work_dir, ranks=1, recompute=False, chunk_size=None, **case) -> Config:
    """A run of one epoch; two layers in each encoder, so that units follow one another."""
    model = tiny_model_config(embed_dims=16, num_blocks=2, chunk_size=chunk_size)
    for name in ('image_encoder', 'text_encoder'):
        model[name]['config']['num_hidden_layers'] = 2
        model[name]['gradient_checkpointing'] = recompute
    if 'runner_type' in case:
        model['text_encoder']['length_groups'] = 1
    model['pretext_heads']['inter']['queue'] = dict(type='MomentumQueue', size=6, embed_dims=16)
    cfg = Config(runner_config(work_dir, model=model, **case))
    cfg.train_dataloader.batch_size = BATCH // ranks
    cfg.optim_wrapper.update(
        # small gradients have any sign, and Adam's steps their size: eps takes them out
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05, eps=1e-3, fused=True),
        clip_grad=dict(max_norm=0.5, error_if_nonfinite=True),
    )
    return cfg


def train(cfg: Config):
    torch.manual_seed(0)
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner


class Sent:
    """Counts the bytes of gathers, and twice those of sums, for what is larger than a number."""

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


def _rank(rank, port, folder):
    os.environ.update(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
    )
    torch.set_num_threads(1)
    notes = {}
    for name, case in CASES.items():
        cfg = config(f'{folder}/{name}', ranks=2, launcher='pytorch', **case)
        prepare_cpu_launch(cfg)
        sent = Sent()
        runner = train(cfg)
        notes[f'{name}_sent'] = sent.stop()
        if name == 'sharded':
            held = (local_part(param.detach()).numel() for param in runner.model.parameters())
            notes['held'] = sum(held)
            with gathered(runner.model), torch.no_grad():
                notes['text_feats'] = runner.model.network.encode_text(*TEXTS)
    torch.save(notes, f'{folder}/notes{rank}.pth')
    # from the divided run's second step, divided; from DDP's, divided
    for name, source in (('resumed', 'sharded'), ('resumed_ddp', 'ddp')):
        checkpoint = f'{folder}/{source}/iter_2.pth'
        cfg = config(f'{folder}/{name}', ranks=2, launcher='pytorch', **SHARDED)
        cfg.update(resume=True, load_from=checkpoint)
        prepare_cpu_launch(cfg)
        train(cfg)
    end_rank()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Folder with a work dir of each case, and of ``one``, a single process."""
    folder = tmp_path_factory.mktemp('runs')
    train(config(folder / 'one'))
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    mp.spawn(_rank, args=(port, str(folder)), nprocs=2)
    return folder


def load(folder, step=STEPS) -> dict:
    return torch.load(folder / f'iter_{step}.pth', weights_only=True)


def assert_same_training(ours: dict, theirs: dict, rtol=1e-5, atol=2e-6, ranks_differ=False):
    """Weights of model and momentum model, optimiser, and what was logged at every step.

    What is logged of the loss is the main rank's share of the batch.
    """
    assert list(ours['state_dict']) == list(theirs['state_dict'])
    for name, value in theirs['state_dict'].items():
        torch.testing.assert_close(
            ours['state_dict'][name],
            value,
            rtol=rtol,
            atol=atol,
            msg=lambda m, name=name: f'{name}: {m}',
        )
    assert ours['optimizer']['state'].keys() == theirs['optimizer']['state'].keys()
    for index, of_param in theirs['optimizer']['state'].items():
        for name, value in of_param.items():
            torch.testing.assert_close(
                ours['optimizer']['state'][index][name], value, rtol=rtol, atol=atol
            )
    scalars, others = (c['message_hub']['log_scalars'] for c in (ours, theirs))
    for name in ('train/loss', 'train/grad_norm', 'train/logit_scale')[ranks_differ:]:
        assert len(scalars[name]['log']) == STEPS
        torch.testing.assert_close(scalars[name]['log'], others[name]['log'], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', [n for n in CASES if n.startswith('sharded')])
def test_a_divided_model_trains_as_ddp(runs, name):
    """The same shares of the batch and the same draws: sums in another order only."""
    other = load(runs / name.replace('sharded', 'ddp'))
    assert_same_training(load(runs / name), other)


@pytest.mark.parametrize('name', CASES)
def test_two_ranks_train_as_one(runs, name):
    assert_same_training(load(runs / name), load(runs / 'one'), ranks_differ=True)


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
    """Whatever the number of chunks, and by DDP as with a divided model."""
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


def test_one_process_goes_on_from_a_divided_checkpoint(runs, tmp_path):
    """And an undivided model takes its weights strictly."""
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

    model = MODELS.build(tiny_model_config())
    with pytest.raises(ValueError, match=r'text_encoder\.length_groups=1'):
        Two.wrap_model(Two.__new__(Two), None, model)


def test_pictures_on_one_rank_are_refused(tmp_path, monkeypatch):
    from eclip_mm.engine.sharded import ShardedRunner

    cfg = config(tmp_path, **SHARDED)
    cfg.custom_hooks.append(dict(type='PictureHook'))
    runner = RUNNERS.build(cfg)
    monkeypatch.setattr(ShardedRunner, 'distributed', True)
    with pytest.raises(ValueError, match='PictureHook.*leave it out of custom_hooks'):
        runner.train()
