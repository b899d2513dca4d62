"""Gathering with gradient."""

import torch
import torch.distributed as dist

import eclip_mm.engine.dist as ours
from eclip_mm.engine import gather


def test_the_gradient_that_comes_in_is_not_changed(monkeypatch):
    """As the second of two ranks; a sum over the ranks is three times this one's share."""
    monkeypatch.setattr(ours, 'world', lambda: (1, 2))
    monkeypatch.setattr(dist, 'all_gather', lambda out, x: [row.copy_(x) for row in out])
    monkeypatch.setattr(dist, 'all_reduce', lambda x: x.mul_(3))
    x = torch.rand(2, 3, requires_grad=True)
    incoming = torch.rand(4, 3)
    before = incoming.clone()
    gather(x).backward(incoming)
    assert torch.equal(incoming, before)
    torch.testing.assert_close(x.grad, 3 * before[1::2])
