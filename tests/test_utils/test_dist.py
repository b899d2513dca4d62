"""Gathering with gradient, the group on the host, and DDP with accumulated gradients."""

import datetime

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config

import eclip_mm.utils.dist as ours
from eclip_mm.config.launch import allow_accumulation
from eclip_mm.utils.dist import gather


def test_the_gradient_that_comes_in_is_not_changed(monkeypatch):
    """As the second of two ranks; a sum over the ranks is three times this one's share."""
    monkeypatch.setattr(ours, 'get_dist_info', lambda: (1, 2))
    monkeypatch.setattr(dist, 'all_gather', lambda out, x, group: [row.copy_(x) for row in out])
    monkeypatch.setattr(dist, 'all_reduce', lambda x: x.mul_(3))
    x = torch.rand(2, 3, requires_grad=True)
    incoming = torch.rand(4, 3)
    before = incoming.clone()
    gather(x).backward(incoming)
    assert torch.equal(incoming, before)
    torch.testing.assert_close(x.grad, 3 * before[1::2])


@pytest.mark.parametrize(
    'counts, launcher, rank, static, said',
    [
        (2, 'pytorch', '0', False, True),
        (2, 'pytorch', '1', False, False),
        (1, 'pytorch', '0', True, False),
        (2, 'none', '0', True, False),
    ],
)
def test_gradients_that_accumulate_need_a_graph_that_changes(
    counts, launcher, rank, static, said, monkeypatch, capsys
):
    monkeypatch.setenv('RANK', rank)
    cfg = Config(
        dict(
            launcher=launcher,
            optim_wrapper=dict(accumulative_counts=counts),
            model_wrapper_cfg=dict(static_graph=True),
        )
    )
    allow_accumulation(cfg)
    assert cfg.model_wrapper_cfg.static_graph is static
    assert ('static_graph=False' in capsys.readouterr().out) is said


@pytest.mark.parametrize('cfg', [{}, dict(optim_wrapper=None, model_wrapper_cfg=None)])
def test_a_config_that_says_nothing_of_it_is_left_alone(cfg):
    cfg = Config(dict(cfg, launcher='pytorch'))
    before = cfg.to_dict()
    allow_accumulation(cfg)
    assert cfg.to_dict() == before


def test_the_group_on_the_host_waits_as_long_as_that_of_the_devices(monkeypatch, tmp_path):
    """A run that allows a rank an hour does not end after torch's default of 30 minutes."""
    hour = datetime.timedelta(hours=1)
    store = dist.FileStore(str(tmp_path / 'store'), 1)
    dist.init_process_group('gloo', store=store, rank=0, world_size=1, timeout=hour)
    try:
        world = dist.group.WORLD
        assert ours._host_group.__wrapped__(world) is world
        monkeypatch.setattr(dist, 'get_backend', lambda group: 'nccl')
        host = ours._host_group.__wrapped__(world)
        assert host is not world
        assert host._get_backend(torch.device('cpu')).options._timeout == hour
    finally:
        dist.destroy_process_group()
