"""fp16 with mmengine's gradient scaler: an overflow skips its step, a lasting one is an error."""

from contextlib import contextmanager
from functools import partial
from unittest import mock

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper

from eclip_mm.registry import OPTIM_WRAPPERS
from eclip_mm.testing import tiny_model_config
from eclip_mm.utils import finite
from eclip_mm.utils.finite import NonFiniteLossError
from helpers.runs import make_runner

pytestmark = pytest.mark.slow


@OPTIM_WRAPPERS.register_module(force=True)
class CPUAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's wrapper on a CPU, which it refuses; ``step`` and the state are its own."""

    def __init__(self, **kwargs):
        scaler = partial(torch.amp.GradScaler, device='cpu')
        with mock.patch.multiple(
            amp_optimizer_wrapper, is_cuda_available=lambda: True, GradScaler=scaler
        ):
            super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model):
        with OptimWrapper.optim_context(self, model), torch.autocast('cpu', torch.float16):
            yield


def train(work_dir, loss_scale, spoil=None, fused=True, **options):
    """Train four steps; the runner, and the weights before each step and after the last.

    ``spoil(step, grad)`` changes the gradient of one bias.
    """
    runner = make_runner(
        work_dir,
        optim_wrapper=dict(
            type='CPUAmpOptimWrapper',
            constructor='PretrainOptimWrapperConstructor',
            loss_scale=loss_scale,
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=fused),
            clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
        ),
        **options,
    )
    weights, step = [], runner.model.train_step

    def train_step(*args, **kwargs):
        weights.append(copy_of(runner.model.network))
        return step(*args, **kwargs)

    runner.model.train_step = train_step
    if spoil is not None:
        runner.model.network.text_proj.bias.register_hook(lambda grad: spoil(runner.iter, grad))
    runner.train()
    return runner, [*weights, copy_of(runner.model.network)]


def copy_of(module) -> dict:
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one: dict, other: dict) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


#: The first gradients times this scale are beyond fp16, and 1/256 of that is far below its limit.
ONE_OVERFLOW = dict(init_scale=2.0**16, backoff_factor=2.0**-8)


@pytest.mark.parametrize('fused', [True, False])
def test_an_overflow_skips_its_step_and_lowers_the_scale(tmp_path, fused):
    runner, weights = train(tmp_path, ONE_OVERFLOW, fused=fused)
    assert runner.iter == 4
    moved = [not equal(a, b) for a, b in zip(weights, weights[1:], strict=False)]
    assert moved == [False, True, True, True]
    assert runner.optim_wrapper.loss_scaler.get_scale() == 2.0**8
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


def test_a_resumed_run_knows_the_scale(tmp_path):
    whole, weights = train(tmp_path / 'whole', ONE_OVERFLOW)
    steps = {float(state['step']) for state in whole.optim_wrapper.optimizer.state.values()}
    assert steps == {3.0}, 'the skipped step is not one of the optimiser'
    start = dict(resume=True, load_from=str(tmp_path / 'whole/iter_2.pth'))
    resumed, others = train(tmp_path / 'resumed', ONE_OVERFLOW, **start)
    assert len(others) == 3 and equal(weights[2], others[0])
    assert equal(whole.model.state_dict(), resumed.model.state_dict())


def not_a_number(step, grad):
    return grad * float('nan')


def test_gradients_that_no_scale_makes_finite_stop_the_run(tmp_path):
    """The scales are 4 and 2 in the skipped steps; at 1 the gradients are not scaled."""
    with pytest.raises(NonFiniteLossError) as error:
        train(tmp_path, dict(init_scale=4.0), not_a_number)
    message = str(error.value)
    assert 'norm of the gradients is nan at a loss scale of 1.0' in message
    assert message.count("'p0-") == 4 and 'nonfinite_iter_2.pth' in message
    saved = torch.load(tmp_path / 'nonfinite_iter_2.pth', weights_only=True)
    assert saved['meta']['iter'] == 2
    untrained = make_runner(tmp_path / 'untrained').model.state_dict()
    for name, value in untrained.items():
        if name.startswith('network.'):
            assert torch.equal(value, saved['state_dict'][name]), name


def test_a_scale_that_stays_is_not_tried_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(finite, 'MAX_OVERFLOWS', 3)
    with pytest.raises(NonFiniteLossError, match=r'loss scale of 64.0 \(overflow 3 in a row'):
        train(tmp_path, 64.0, not_a_number)
    assert (tmp_path / 'nonfinite_iter_2.pth').exists()
    # two in a row, twice
    runner, _ = train(
        tmp_path / 'two',
        64.0,
        lambda step, grad: grad if step % 3 == 2 else not_a_number(step, grad),
        epochs=2,
    )
    assert runner.iter == 8


def test_a_scaler_that_is_off_skips_nothing(tmp_path):
    with pytest.raises(NonFiniteLossError, match='norm of the gradients is nan'):
        train(tmp_path, dict(enabled=False), not_a_number)
    assert (tmp_path / 'nonfinite_iter_0.pth').exists()


def test_a_loss_that_is_not_finite_is_an_error_at_once(tmp_path):
    model = tiny_model_config(embed_dims=16, num_blocks=1)
    model['pretext_heads']['bad'] = dict(type='NaNHead', at=1)
    with pytest.raises(NonFiniteLossError, match='loss_bad'):
        train(tmp_path, dict(init_scale=2.0**8), model=model)
    assert (tmp_path / 'nonfinite_iter_1.pth').exists()
