"""Seeds of a step, the momentum model's steps, the progress bar."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eclip_mm.engine import ProgressBarHook, StepSeedHook
from eclip_mm.utils.seeding import derive_seed
from helpers.runs import make_runner


def draws(seed=0, rank=0, step=0):
    StepSeedHook().before_train_iter(SimpleNamespace(seed=seed, rank=rank, iter=step), 0)
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_step_draws_by_its_number_alone():
    first = draws(step=3)
    torch.rand(100), np.random.rand(7), random.random()  # validation, data loading, ...
    assert draws(step=3) == first
    for other in (draws(step=4), draws(rank=1, step=3), draws(seed=1, step=3)):
        assert all(a != b for a, b in zip(first, other, strict=True))


def test_seeds_keep_their_parts_apart():
    seeds = {derive_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900
    assert derive_seed(1, 23) != derive_seed(12, 3)


@pytest.mark.slow
def test_what_happens_between_steps_does_not_change_the_run(tmp_path):
    weights = []
    for disturb in (False, True):
        runner = make_runner(tmp_path / str(disturb))
        if disturb:
            step = runner.model.train_step

            def train_step(*args, step=step, **kwargs):
                result = step(*args, **kwargs)
                torch.rand(17)
                return result

            runner.model.train_step = train_step
        runner.model.network.text_encoder.model.embeddings.dropout.p = 0.5
        runner.train()
        weights.append(runner.model.state_dict())
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


@pytest.mark.slow
@pytest.mark.parametrize(
    'accumulate, expected', [(1, [0.25, 0.5, 0.75, 1.0]), (2, [0.5, 1.0]), (3, [0.75, 1.0])]
)
def test_the_teacher_follows_optimiser_steps_not_batches(
    tmp_path, monkeypatch, accumulate, expected
):
    runner = make_runner(
        tmp_path,
        optim_wrapper=dict(
            constructor='PretrainOptimWrapperConstructor',
            accumulative_counts=accumulate,
            optimizer=dict(type='AdamW', lr=1e-3),
        ),
    )
    model, seen = runner.model, []
    teacher = model.teacher
    update = teacher.update

    def record(network, progress):
        name = 'image_proj.weight'
        before = teacher.network.get_parameter(name).clone()
        update(network, progress)
        weight = 1 - teacher.momentum_at(progress)
        torch.testing.assert_close(
            teacher.network.get_parameter(name),
            before + weight * (network.get_parameter(name).detach() - before),
        )
        seen.append(progress)

    monkeypatch.setattr(teacher, 'update', record)
    runner.train()
    assert seen == expected  # 4 batches; what is left of the gradients is used at the end


def test_the_progress_bar_tells_steps_and_remaining_time(capsys):
    hook = ProgressBarHook(interval=0.0)
    runner = SimpleNamespace(max_iters=4, iter=1)  # resumed after one step
    hook.before_train(runner)
    for step in range(3):
        hook.after_train_iter(runner, step)
    hook.after_train(runner)
    text = capsys.readouterr().err
    assert '1/4 [' in text and '4/4 [' in text
    assert '<' in text and ('step/s' in text or 's/step' in text)  # elapsed < remaining, speed


@pytest.mark.slow
def test_a_training_without_the_hook_that_finishes_steps_is_refused(tmp_path):
    """Its checkpoints would hold the queue and the step number of one step before."""
    runner = make_runner(tmp_path, custom_hooks=[])
    with pytest.raises(ValueError, match='ECLIP needs TeacherUpdateHook'):
        runner.train()
