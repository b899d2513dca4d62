"""Weights that a variant loads."""

import pytest
import torch
from torch import nn

from eclip_mm.comparison.job import load_weights


def test_untrained_weights_are_an_error(tmp_path):
    trained = nn.ModuleDict(dict(a=nn.Linear(2, 2), b=nn.Linear(2, 2)))
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'epoch_1.pth')
    part = nn.ModuleDict(dict(a=nn.Linear(2, 2)))
    load_weights(part, tmp_path / 'epoch_1.pth')
    assert torch.equal(part['a'].weight, trained['a'].weight)
    more = nn.ModuleDict(dict(a=nn.Linear(2, 2), c=nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"epoch_1\.pth has no \['c\.weight', 'c\.bias'\]"):
        load_weights(more, tmp_path / 'epoch_1.pth')
