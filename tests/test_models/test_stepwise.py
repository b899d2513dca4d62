"""Steps take effect when they are complete, and a new training forgets those of an old one."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from eclip_mm.registry import HOOKS, MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from eclip_mm.utils.finite import NonFiniteLossError
from helpers.runs import BATCH, make_runner


def config():
    """A tiny model with every kind of memory."""
    cfg = tiny_model_config(
        embed_dims=16,
        num_blocks=1,
        negative_queries=dict(
            type='SwitchableNegatives',
            use='text',
            options=dict(
                text=dict(type='TextNegatives', size=6),
                ema=dict(type='EMANegatives', num_queries=4),
            ),
        ),
    )
    cfg['pretext_heads']['inter']['queue'] = dict(type='MomentumQueue', size=10)
    return cfg


def memories(state: dict) -> dict:
    """Step number, queue, ring of texts and averages in a state dict."""
    parts = ('_extra_state', 'heads.inter.queue.', 'negative_queries.')
    found = {name: value for name, value in state.items() if name.startswith(parts)}
    assert len(found) == 1 + 3 + 3 + 2
    return found


def assert_same(found: dict, wanted: dict):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def snapshot(model) -> dict:
    return {name: value.clone() for name, value in memories(model.state_dict()).items()}


def test_a_step_takes_effect_when_it_is_finished():
    torch.manual_seed(0)
    model = MODELS.build(config())
    fresh = snapshot(model)
    model(**model.data_preprocessor(fake_batch(4)), mode='loss')
    assert_same(snapshot(model), fresh)
    model.finish_step()
    first = snapshot(model)
    assert first['_extra_state'] == 1
    assert first['heads.inter.queue.num_seen'] == 4
    assert first['negative_queries.options.text.num_seen'] == 4
    assert first['negative_queries.options.ema.num_seen'].sum() == 4
    model.finish_step()  # there is none to finish
    assert_same(snapshot(model), first)
    model(**model.data_preprocessor(fake_batch(4, seed=1)), mode='loss')
    model.discard_step()
    model.finish_step()
    assert_same(snapshot(model), first)
    # without a hook the next loss finishes a step
    for seed in (1, 2):
        model(**model.data_preprocessor(fake_batch(4, seed=seed)), mode='loss')
    second = snapshot(model)
    assert second['_extra_state'] == 2 and second['heads.inter.queue.num_seen'] == 8


def test_a_loop_of_ones_own_can_copy_the_model_after_a_step():
    """Nothing that the step has left holds its graph, which cannot be copied."""
    model = MODELS.build(config())
    weights = [p for p in model.parameters() if p.requires_grad]
    model.train_step(fake_batch(4), OptimWrapper(torch.optim.SGD(weights, lr=0.1)))
    model.finish_step()
    assert_same(snapshot(copy.deepcopy(model)), snapshot(model))


@pytest.mark.slow
def test_a_model_that_was_trained_checks_its_losses_in_a_loop_of_ones_own(tmp_path):
    model = run(tmp_path).train()
    torch.nn.init.constant_(model.network.text_proj.bias, float('nan'))
    with pytest.raises(NonFiniteLossError):
        model(**model.data_preprocessor(fake_batch(4), True), mode='loss')


def run(folder, bad_calls=(), accumulate=1, **options):
    """A run of 4 steps; the gradient of some of its batches is NaN."""
    runner = make_runner(
        folder,
        model=config(),
        optim_wrapper=dict(
            constructor='PretrainOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
            clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
            accumulative_counts=accumulate,
        ),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        **options,
    )
    calls = []

    def spoil(grad):
        calls.append(0)
        return grad * float('nan') if len(calls) - 1 in bad_calls else grad

    runner.model.network.text_proj.bias.register_hook(spoil)
    return runner


def load(path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize('accumulate, bad', [(1, 2), (2, 2), (2, 3), (3, 1)])
def test_a_gradient_that_is_not_finite_leaves_the_state_before_the_step(tmp_path, accumulate, bad):
    """While gradients accumulate, the iteration with the bad gradient stops the run."""
    with pytest.raises(NonFiniteLossError, match='finite') as error:
        run(tmp_path, [bad], accumulate).train()
    path = tmp_path / f'nonfinite_iter_{bad}.pth'
    assert str(path) in str(error.value) and str(error.value).count("'p0-") == BATCH
    saved, before = load(path), load(tmp_path / f'iter_{bad}.pth')
    assert saved['meta']['iter'] == bad
    assert memories(saved['state_dict'])['_extra_state'] == bad
    assert memories(saved['state_dict'])['heads.inter.queue.num_seen'] == BATCH * bad
    assert_same(saved['state_dict'], before['state_dict'])


@pytest.mark.slow
def test_a_run_that_is_resumed_from_there_is_the_run_without_the_fault(tmp_path):
    """It draws the same prompts and holds no key of the batch twice."""
    run(tmp_path / 'whole').train()
    with pytest.raises(NonFiniteLossError):
        run(tmp_path / 'stopped', [2]).train()
    path = str(tmp_path / 'stopped/nonfinite_iter_2.pth')
    run(tmp_path / 'resumed', load_from=path, resume=True).train()
    for step in (3, 4):
        found, wanted = (load(tmp_path / f'{name}/iter_{step}.pth') for name in NAMES)
        assert_same(found['state_dict'], wanted['state_dict'])


NAMES = ('resumed', 'whole')


@HOOKS.register_module(force=True)
class StartRecorder(Hook):
    """Keeps the model's state at the first step of a training."""

    priority = 'VERY_LOW'

    def before_train(self, runner):
        self.state = {name: value.clone() for name, value in runner.model.state_dict().items()}


def state_at_start(folder, **options) -> dict:
    runner = run(folder, hooks=[dict(type='StartRecorder')], **options)
    runner.train()
    return next(hook.state for hook in runner.hooks if isinstance(hook, StartRecorder))


@pytest.mark.slow
def test_a_new_training_takes_over_weights_and_nothing_else(tmp_path):
    run(tmp_path / 'old').train()
    path = str(tmp_path / 'old/iter_2.pth')
    old = load(path)['state_dict']
    assert memories(old)['heads.inter.queue.num_seen'] == 2 * BATCH
    resumed = state_at_start(tmp_path / 'resumed', load_from=path, resume=True)
    assert_same(resumed, old)
    begun = state_at_start(tmp_path / 'new', load_from=path)
    assert all((value == 0).all() for value in memories(begun).values())
    for name, value in old.items():
        if name.startswith('network.'):
            assert torch.equal(begun[name], value), name
            assert torch.equal(begun[f'teacher.{name}'], value), name
    final = memories(load(tmp_path / 'new/iter_4.pth')['state_dict'])
    assert final['_extra_state'] == 4
    assert final['heads.inter.queue.num_seen'] == 4 * BATCH
