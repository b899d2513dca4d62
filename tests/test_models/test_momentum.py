"""The momentum model: weights are cast once a step, and averages do not drift."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from eclip_mm.models import momentum
from eclip_mm.models.momentum import MomentumTeacher
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config


class CastCounter(TorchDispatchMode):
    """Counts the casts of each of some tensors."""

    def __init__(self, tensors):
        super().__init__()
        self.counts = {tensor.data_ptr(): 0 for tensor in tensors}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and args[0].data_ptr() in self.counts:
            self.counts[args[0].data_ptr()] += 1
        return func(*args, **(kwargs or {}))


def build(chunk_size=None, freeze=None):
    cfg = tiny_model_config(embed_dims=16, chunk_size=chunk_size, freeze=freeze)
    cfg['text_encoder']['length_groups'] = 3
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    with torch.no_grad():  # the averages are not the weights
        for param in model.teacher.parameters():
            param.add_(0.01)
    return model


def terms_and_grads(model):
    with torch.autocast('cpu', torch.bfloat16):
        terms = model(**model.data_preprocessor(fake_batch(6), True), mode='loss')
    model.parse_losses(terms)[0].backward()
    return terms, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize('chunk_size', [None, 2])
def test_each_weight_is_cast_once_a_step(chunk_size):
    model = build(chunk_size)
    weights = {p.data_ptr(): n for n, p in model.teacher.network.named_parameters()}
    with CastCounter(model.teacher.parameters()) as counter:
        terms_and_grads(model)
    counts = {weights[pointer]: count for pointer, count in counter.counts.items()}
    assert counts['text_encoder.model.encoder.layer.0.intermediate.dense.weight'] == 1
    assert counts['decoder.blocks.0.ffn.0.weight'] == 1
    assert max(counts.values()) == 1


@pytest.mark.parametrize('options', [{}, dict(chunk_size=2), dict(freeze=dict(image=1, text=1))])
def test_losses_and_gradients_are_those_of_a_cast_at_each_use(options, monkeypatch):
    once = terms_and_grads(build(**options))
    monkeypatch.setattr(momentum, 'cast_once', lambda *_: nullcontext())
    each = terms_and_grads(build(**options))
    assert all(torch.equal(once[0][name], each[0][name]) for name in each[0])
    assert all(torch.equal(a, b) for a, b in zip(once[1], each[1], strict=True))


def test_weights_require_no_gradient_afterwards():
    model = build()
    terms_and_grads(model)
    assert not any(p.requires_grad or p.grad is not None for p in model.teacher.parameters())


@pytest.mark.parametrize('schedule', ['constant', 'cosine'])
def test_averages_do_not_drift_over_thousands_of_steps(schedule):
    """From a float64 reference. Each step rounds by up to 6e-8; in bf16 that would be 4e-3."""
    steps, generator = 4000, torch.Generator().manual_seed(0)
    network = nn.Linear(32, 32)
    teacher = MomentumTeacher(network, schedule=schedule)
    wanted = [p.detach().double() for p in teacher.network.parameters()]
    for step in range(steps):
        progress = (step + 1) / steps
        weight = 1 - teacher.momentum_at(progress)
        for param, reference in zip(network.parameters(), wanted, strict=True):
            with torch.no_grad():  # as far as AdamW moves weights at a rate of 1e-4
                param.add_(1e-4 * torch.randn(param.shape, generator=generator))
            reference.lerp_(param.detach().double(), weight)
        teacher.update(network, progress)
    for param, reference in zip(teacher.network.parameters(), wanted, strict=True):
        assert param.dtype == torch.float32
        assert (reference - param).abs().max() < 1e-5 * reference.abs().max()
