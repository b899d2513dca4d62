"""A loss that is not finite stops the run: named, with a checkpoint, on all ranks."""

from contextlib import nullcontext

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from eclip_mm.config.launch import prepare_cpu_launch
from eclip_mm.structures import ProductDataSample
from eclip_mm.testing import end_rank, tiny_model_config
from eclip_mm.utils.finite import (
    LossCheck,
    NonFiniteGradientError,
    NonFiniteLossError,
    clip_if_larger,
    refuse_nonfinite_gradients,
)
from helpers.processes import start_ranks
from helpers.runs import make_runner


def model_with_nan(**options):
    cfg = tiny_model_config(embed_dims=16, num_blocks=1)
    cfg['pretext_heads']['bad'] = dict(type='NaNHead', **options)
    return cfg


def sample(product_id):
    return ProductDataSample(metainfo=dict(product_id=product_id))


def test_only_losses_are_checked():
    nan = torch.tensor(float('nan'))
    assert not LossCheck(dict(loss_a=torch.ones(()), acc=nan), [sample('p')]).is_bad
    for bad in (nan, torch.tensor(float('inf')), torch.tensor(float('-inf'))):
        check = LossCheck(dict(loss_a=torch.ones(()), loss_b=bad), [sample('p'), sample('q')])
        assert check.is_bad
        with pytest.raises(NonFiniteLossError, match=r"loss_b of this rank's batch.*\['p', 'q'\]"):
            check.refuse()


@pytest.mark.parametrize('norm_type', [2.0, float('inf')])
@pytest.mark.parametrize('max_norm', [0.5, 100.0])
def test_clipping_is_torchs_without_a_product_by_one(max_norm, norm_type):
    values = [torch.randn(5, 4), torch.randn(3), torch.randn(())]
    found, wanted = (
        [torch.nn.Parameter(torch.zeros_like(value)) for value in values] for _ in range(2)
    )
    for params in (found, wanted):
        for param, value in zip(params, values, strict=True):
            param.grad = value.clone()
    norms = []

    def read(norm):
        norms.append(norm)
        return float(norm)

    clip_if_larger(found, read, max_norm, norm_type)
    assert torch.equal(norms[0], torch.nn.utils.clip_grad_norm_(wanted, max_norm, norm_type))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(found, wanted, strict=True))
    was_multiplied = found[0].grad._version > 0
    assert was_multiplied == (max_norm < 1)


@pytest.mark.slow
@pytest.mark.parametrize('clip', [True, False])
def test_the_run_stops_with_the_state_before_the_step(tmp_path, clip):
    """Whether the losses are read with the norm of the gradients, or at once."""
    options = {}
    if clip:
        optimizer = dict(type='AdamW', lr=1e-3)
        clip_grad = dict(max_norm=1.0, error_if_nonfinite=True)
        options['optim_wrapper'] = dict(
            constructor='PretrainOptimWrapperConstructor', optimizer=optimizer, clip_grad=clip_grad
        )
    runner = make_runner(tmp_path, model=model_with_nan(at=2), **options)
    with pytest.raises(NonFiniteLossError) as error:
        runner.train()
    path = tmp_path / 'nonfinite_iter_2.pth'
    message = str(error.value)
    assert 'loss_bad' in message and message.count("'p0-") == 4 and str(path) in message
    saved = torch.load(path, weights_only=True)
    assert saved['meta']['iter'] == 2
    before = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    for key, value in saved['state_dict'].items():
        assert value.isfinite().all(), key
        assert torch.equal(value, before['state_dict'][key]), key
    # ... and the run can be resumed from it
    other = make_runner(
        tmp_path / 'again',
        model=model_with_nan(at=-1),
        load_from=str(path),
        resume=True,
        **options,
    )
    other.train()
    assert other.iter == 4
    assert all(p.isfinite().all() for p in other.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path, bad):
    cfg = dict(
        constructor='PretrainOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
    )
    runner = make_runner(tmp_path, optim_wrapper=cfg)
    calls = []

    def spoil(grad):
        calls.append(0)
        return grad * bad if len(calls) == 3 else grad

    runner.model.network.text_proj.bias.register_hook(spoil)
    with pytest.raises(NonFiniteLossError) as error:
        runner.train()
    message = str(error.value)
    assert f'the norm of the gradients is {bad}' in message and message.count("'p0-") == 4
    saved = torch.load(tmp_path / 'nonfinite_iter_2.pth', weights_only=True)
    before = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    for key, value in saved['state_dict'].items():
        assert torch.equal(value, before['state_dict'][key]), key


def test_only_wrappers_that_ask_for_it_refuse_gradients():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, float('nan')])
    for options, error in ((dict(error_if_nonfinite=True), True), ({}, False)):
        optimizer = torch.optim.SGD([weight], lr=1.0)
        wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0, **options))
        refuse_nonfinite_gradients(wrapper)
        with pytest.raises(NonFiniteGradientError) if error else nullcontext():
            wrapper._clip_grad()
    refuse_nonfinite_gradients(OptimWrapper(optimizer))  # clips nothing
    weight.grad = torch.tensor([3.0, 4.0])
    wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0, error_if_nonfinite=True))
    refuse_nonfinite_gradients(wrapper)
    wrapper._clip_grad()
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize('options', [dict(norm_type='inf'), dict(foreach=False)])
def test_torchs_other_options_of_clipping_are_taken(options):
    found, wanted = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    for weight in (found, wanted):
        weight.grad = torch.tensor([3.0, 4.0])
    clip_grad = dict(max_norm=1.0, error_if_nonfinite=True, **options)
    wrapper = OptimWrapper(torch.optim.SGD([found], lr=1.0), clip_grad=clip_grad)
    refuse_nonfinite_gradients(wrapper)
    wrapper._clip_grad()
    torch.nn.utils.clip_grad_norm_([wanted], 1.0, **options)
    assert torch.equal(found.grad, wanted.grad)


@pytest.mark.slow
def test_other_errors_of_a_step_are_not_taken_for_it(tmp_path):
    runner = make_runner(tmp_path)

    def fail(grad):
        raise RuntimeError('a non-finite number of words')

    runner.model.network.text_proj.bias.register_hook(fail)
    with pytest.raises(RuntimeError, match='number of words'):
        runner.train()
    assert not list(tmp_path.glob('nonfinite*'))


def _rank(rank, folder):
    init_default_scope('eclip_mm')
    from mmengine.config import Config

    cfg = Config(dict(launcher='pytorch'))
    prepare_cpu_launch(cfg)
    runner = make_runner(f'{folder}/run', model=model_with_nan(at=1, rank=1), **cfg)
    try:
        runner.train()
    except NonFiniteLossError as error:
        message = str(error)
    else:
        message = 'trained to the end'
    with open(f'{folder}/{rank}.txt', 'w') as file:
        file.write(message)
    end_rank()


@pytest.mark.slow
@pytest.mark.alone
def test_all_ranks_stop_together(tmp_path):
    context = start_ranks(_rank, str(tmp_path), join=False)
    # a rank that waits for the other's gradients would wait for half an hour
    for _ in range(2):
        if context.join(timeout=150):
            break
    finished = not any(p.is_alive() for p in context.processes)
    for process in context.processes:
        process.kill()
    assert finished, 'a rank hangs'
    good, bad = ((tmp_path / f'{rank}.txt').read_text() for rank in range(2))
    assert 'loss on another rank' in good and "loss_bad of this rank's batch" in bad
    assert bad.count("'p0-") == 4 and "'p0-" not in good  # its products are not to blame
    saved = torch.load(tmp_path / 'run/nonfinite_iter_1.pth', weights_only=True)
    assert all(value.isfinite().all() for value in saved['state_dict'].values())
