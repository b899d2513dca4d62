"""A setting that a resumed training would take from its checkpoint may not differ."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from eclip_mm.engine.resume_settings import check_has_state, check_settings
from eclip_mm.registry import PARAM_SCHEDULERS

LINEAR = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5)
POLY = dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=5, end=20)


def run(
    kind='AdamW', schedulers=(LINEAR, POLY), max_epochs=2, sizes=(2, 1), scale=None, **options
):
    """What check_settings reads of a runner whose optimiser and schedulers are built."""
    options = dict(dict(lr=1e-3, weight_decay=0.05), **options)
    groups = [dict(params=[torch.nn.Parameter(torch.zeros(2)) for _ in range(n)]) for n in sizes]
    groups[1]['weight_decay'] = 0.0
    if scale is not None:
        groups[1]['lr'] = scale * options['lr']
    optimizer = getattr(torch.optim, kind)(groups, **options)
    wrapper = OptimWrapper(optimizer)
    built = [PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer)) for cfg in schedulers]
    return SimpleNamespace(
        optim_wrapper=wrapper, param_schedulers=built or None, max_epochs=max_epochs
    )


def saved(runner, steps=7, old=False) -> dict:
    """Its checkpoint after some steps; an old one does not say what the classes were."""
    for _ in range(steps):
        runner.optim_wrapper.optimizer.step()
        for scheduler in runner.param_schedulers or ():
            scheduler.step()
    training = dict(
        max_epochs=runner.max_epochs,
        optimizer=type(runner.optim_wrapper.optimizer).__name__,
        schedulers=[type(s).__name__ for s in runner.param_schedulers or ()],
    )
    checkpoint = dict(
        optimizer=runner.optim_wrapper.state_dict(),
        message_hub={},
        meta=dict(epoch=1, iter=7) | ({} if old else dict(training=training)),
    )
    if runner.param_schedulers:
        checkpoint['param_schedulers'] = [s.state_dict() for s in runner.param_schedulers]
    return checkpoint


@pytest.mark.parametrize('old', [False, True])
def test_the_same_settings_pass_at_any_step(old):
    for steps in (0, 3, 7, 30):
        check_settings(run(), saved(run(), steps, old))
    check_settings(run(schedulers=()), saved(run(schedulers=()), old=old))
    check_settings(run(fused=None), saved(run(foreach=False), old=old))


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(lr=2e-3), r'optim_wrapper\.optimizer\.lr was 0\.001 and is 0\.002'),
        (dict(scale=0.5), r'optim_wrapper\.optimizer\.lr was 0\.001 and is 0\.0005'),
        (dict(weight_decay=0.1), r'optim_wrapper\.optimizer\.weight_decay was 0\.05 and is 0\.1'),
        (dict(betas=(0.9, 0.98)), r'betas was \(0\.9, 0\.999\) and is \(0\.9, 0\.98\)'),
        (dict(eps=1e-6), r'optimizer\.eps was 1e-08 and is 1e-06'),
        (dict(amsgrad=True), r'optimizer\.amsgrad was False and is True'),
        (dict(kind='Adam'), r'optim_wrapper\.optimizer\.type was AdamW and is Adam'),
        (dict(sizes=(3, 1)), r'groups of \[2, 1\] tensors and has \[3, 1\].*freeze'),
        (dict(sizes=(2, 1, 1)), r'groups of \[2, 1\] tensors and has \[2, 1, 1\]'),
        (dict(schedulers=(LINEAR,)), 'param_scheduler had 2 schedulers and has 1'),
        (dict(schedulers=()), 'param_scheduler had 2 schedulers and has 0'),
        (
            dict(schedulers=(LINEAR, dict(POLY, end=30)), max_epochs=3),
            r'param_scheduler\.1\.end was 20 and is 30; train_cfg\.max_epochs was 2 and is 3,',
        ),
        (
            dict(schedulers=(dict(LINEAR, end=4), POLY)),
            r'param_scheduler\.0\.end was 5 and is 4\.',
        ),
        (
            dict(schedulers=(dict(LINEAR, start_factor=0.2), POLY)),
            r'param_scheduler\.0\.start_factor was 0\.1 and is 0\.2',
        ),
        (dict(schedulers=(LINEAR, dict(POLY, power=2.0))), r'scheduler\.1\.power was 1 and is 2'),
        (
            dict(schedulers=(LINEAR, dict(type='ExponentialLR', gamma=0.9, by_epoch=False))),
            r'param_scheduler\.1\.type was PolyLR and is ExponentialLR',
        ),
    ],
)
def test_another_setting_is_an_error_that_names_the_key(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        check_settings(run(**changes), saved(run()))
    assert 'load_from and without --resume' in str(error.value)


def test_a_schedule_that_was_not_there():
    with pytest.raises(ValueError, match='had 0 schedulers and has 2') as error:
        check_settings(run(), saved(run(schedulers=())))
    assert 'optimizer.lr' not in str(error.value)  # the schedule has changed it, not the config


def test_more_epochs_take_effect_and_are_logged(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'eclip_mm.engine.resume_settings.print_log', lambda text, **kwargs: lines.append(text)
    )
    check_settings(run(max_epochs=3), saved(run()))
    assert lines == [
        'train_cfg.max_epochs was 2 and is 3; the schedule of the learning rate stays'
    ]


def test_several_optimisers_are_left_to_mmengine():
    runner = run()
    runner.param_schedulers = dict(a=runner.param_schedulers)
    checkpoint = dict(saved(run()), param_schedulers=dict(a=[]), optimizer=dict(a={}))
    check_settings(runner, checkpoint)


@pytest.mark.parametrize(
    'checkpoint, lacking',
    [
        (dict(state_dict={}), 'optimizer, message_hub, meta.epoch, meta.iter'),  # safetensors
        (dict(meta=dict(epoch=1, iter=8), message_hub={}), 'no optimizer:'),  # best_*.pth
    ],
)
def test_weights_alone_are_nothing_to_resume_from(checkpoint, lacking):
    with pytest.raises(ValueError, match=rf'{lacking}.*load_from'):
        check_has_state(checkpoint)
