"""kill -9 and --resume give the weights of a run that nobody touched, bit for bit."""

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('runs')]


def assert_same(ours, theirs, where=''):
    """Nested data, tensors by bits."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), where
        for key in ours:
            assert_same(ours[key], theirs[key], f'{where}.{key}')
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), where
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f'{where}[{k}]')
    elif isinstance(ours, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def test_a_killed_run_goes_on_as_if_nothing_had_happened(runs):
    ours, theirs = (
        torch.load(runs[name] / 'iter_16.pth', weights_only=True) for name in ('resumed', 'whole')
    )
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_same(ours[part], theirs[part], part)
    for key in ('epoch', 'iter', 'seed'):
        assert ours['meta'][key] == theirs['meta'][key]
    hub, other = (c['message_hub']['log_scalars'] for c in (ours, theirs))
    # what was logged before the kill is there as well: losses and validation of all steps
    for key in ('train/loss', 'train/loss_intra', 'train/lr', 'val/photos/right_box'):
        assert_same(hub[key], other[key], key)
    assert len(hub['train/loss']['log']) == 16
    assert (
        ours['message_hub']['runtime_info']['best_score']
        == theirs['message_hub']['runtime_info']['best_score']
    )


def test_the_comparison_can_fail(trained):
    """Steps change weights, optimiser, teacher and schedule: equality above means something."""
    late, early = (torch.load(trained / f'iter_{n}.pth', weights_only=True) for n in (16, 12))
    for name in ('network.image_proj.weight', 'teacher.network.image_proj.weight', 'logit_scale'):
        assert not torch.equal(late['state_dict'][name], early['state_dict'][name])
    assert late['param_schedulers'] != early['param_schedulers']
    states = [c['optimizer']['state'][0]['exp_avg'] for c in (late, early)]
    assert not torch.equal(*states)
