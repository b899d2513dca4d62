"""In a training step the host waits for the device once.

The steps run on torch's device ``meta``, whose tensors have no content: whatever needs one
(``item``, ``tolist``, ``bool``, ``cpu``, ``nonzero``, an index by a bool mask) is an error. What
is read on purpose goes through ``read_scalars``, which counts here and gives zeros.
"""

from contextlib import nullcontext

import pytest
import torch
from mmengine.hooks import RuntimeInfoHook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from eclip_mm.engine import StepSeedHook, TeacherUpdateHook
from eclip_mm.models import stepwise
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from eclip_mm.utils import finite
from eclip_mm.utils.finite import refuse_nonfinite_gradients


class BlockingCopies(TorchDispatchMode):
    """Copies to the device for which the host waits."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and not kwargs.get('non_blocking'):
            if is_on_device(kwargs.get('device')) and not args[0].is_meta:
                self.found.append(tuple(args[0].shape))
        return func(*args, **kwargs)


class MadeOnHost(TorchFunctionMode):
    """Tensors of Python's numbers that are made on the device: the same copy."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and is_on_device(kwargs.get('device')):
            self.found.append(args)
        return func(*args, **kwargs)


def is_on_device(device) -> bool:
    return device is not None and torch.device(device).type == 'meta'


class Run:
    """What the hooks of a step need of a runner."""

    seed, rank, iter, max_iters = 0, 0, 0, 10

    def __init__(self, model, wrapper):
        self.model, self.optim_wrapper = model, wrapper
        self.message_hub = MessageHub.get_current_instance()


@pytest.fixture
def reads(monkeypatch):
    """How many scalars each call of ``read_scalars`` has read; autocast does not know ``meta``."""
    counts = []

    def read(scalars):
        counts.append(len(torch.stack([scalar.detach().float() for scalar in scalars])))
        return [0.0] * counts[-1]

    monkeypatch.setattr(finite, 'read_scalars', read)
    monkeypatch.setattr(stepwise, 'read_scalars', read)
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, 'is_autocast_enabled', lambda *_: False)
    return counts


def parts(**options):
    cfg = tiny_model_config(embed_dims=16, **options)
    return MODELS.build(cfg).to('meta').train()


def text_tower(model_type):
    cfg = dict(tiny_model_config(embed_dims=16)['text_encoder'], model_type=model_type)
    sizes = dict(dim=16, n_heads=2, n_layers=1, hidden_dim=32, vocab_size=100)
    return dict(cfg, config=sizes) if model_type == 'distilbert' else cfg


def image_tower(model_type):
    cfg = dict(tiny_model_config(embed_dims=16)['image_encoder'], model_type=model_type)
    if model_type == 'dinov2':
        del cfg['config']['intermediate_size']
    if model_type == 'convnext':
        cfg['config'] = dict(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    return cfg


QUEUE = dict(type='MomentumQueue', size=16)
HEADS = tiny_model_config()['pretext_heads']
DROPOUT = dict(tiny_model_config(16)['image_encoder'], patch_dropout=0.5)
CASES = dict(
    paper={},
    chunks=dict(chunk_size=3),
    queue=dict(pretext_heads=dict(HEADS, inter=dict(type='InterProductHead', queue=QUEUE))),
    clip=dict(pretext_heads=dict(itc=dict(type='ITCHead'))),
    patch_dropout=dict(image_encoder=DROPOUT),
    distractors=dict(num_distractors=2),
    averages=dict(negative_queries=dict(type='EMANegatives', num_queries=4)),
    ring=dict(negative_queries=dict(type='TextNegatives', size=8)),
    **{name: dict(text_encoder=text_tower(name)) for name in ('distilbert', 'electra', 'roberta')},
    **{name: dict(image_encoder=image_tower(name)) for name in ('dinov2', 'convnext')},
)


@pytest.mark.parametrize('case', [*CASES, 'accumulate'])
def test_the_host_waits_once_in_a_step(case, reads):
    model = parts(**CASES.get(case, {}))
    wrapper = OptimWrapper(
        torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3),
        clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
        accumulative_counts=2 if case == 'accumulate' else 1,
    )
    model.is_read_later = refuse_nonfinite_gradients(wrapper, model)
    run = Run(model, wrapper)
    hooks = StepSeedHook(), RuntimeInfoHook(), TeacherUpdateHook()
    for step in range(2):
        run.iter = step
        batch = fake_batch(6, seed=step)
        with BlockingCopies() as copies, MadeOnHost() as made:
            for hook in hooks:
                hook.before_train_iter(run, step, batch)
            outputs = model.train_step(batch, wrapper)
            for hook in hooks:  # the runtime information goes to the log
                hook.after_train_iter(run, step, batch, outputs)
        assert copies.found == made.found == []
        assert len(reads) == step + 1
        # the norm, each figure and whether the losses are finite
        assert reads[-1] == len(outputs) + 2
        assert all(isinstance(value, float) for value in outputs.values())
    assert model.num_steps == 2


def test_without_clipping_the_losses_are_read_at_once(reads):
    model = parts()
    data = model.data_preprocessor(fake_batch(6), True)
    model(**data, mode='loss')
    assert reads == [1]
