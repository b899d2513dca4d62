"""Pictures while training: where they are written, and that they do not change the training."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from eclip_mm.apis.picture_hook import PictureHook
from eclip_mm.registry import METRICS
from helpers.runs import make_runner


@METRICS.register_module(force=True)
class CountSamples(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(count=len(results))


def run(folder, hooks, **overrides):
    """Train 4 steps without a seed per step; validate 8 fake products after every second."""
    options = dict(
        epochs=2,
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='ResumableSampler', shuffle=True),
            collate_fn=dict(type='collate_products'),
            dataset=dict(type='FakeProducts', size=8),
        ),
        val_dataloader=dict(
            batch_size=3,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='collate_products'),
            dataset=dict(type='FakeProducts', size=8),
        ),
        val_cfg=dict(),
        val_evaluator=dict(type='CountSamples'),
        visualizer=dict(
            type='Visualizer',
            vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
        ),
        custom_hooks=[dict(type='TeacherUpdateHook'), dict(type='PlainCheckpointHook'), *hooks],
    )
    runner = make_runner(folder, **{**options, **overrides})
    runner.model.network.text_encoder.model.embeddings.dropout.p = 0.5
    runner.train()
    return runner


def sheets(folder) -> dict:
    return {path.name: path for path in sorted(folder.glob('*/vis_data/vis_image/*.png'))}


@pytest.mark.slow
def test_weights_are_those_of_a_run_without_pictures(tmp_path):
    # no StepSeedHook: dropout follows torch's global state, which the hook must not touch
    hook = dict(type='PictureHook', protocol='m5', num_photos=2, num_queries=2)
    plain, drawn = run(tmp_path / 'plain', []), run(tmp_path / 'drawn', [hook])
    assert not sheets(tmp_path / 'plain')
    found = sheets(tmp_path / 'drawn')
    assert list(found) == [
        'retrieval_2.png',
        'retrieval_4.png',
        'score_maps_2.png',
        'score_maps_4.png',
    ]
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, drawn.model.state_dict()[key]), key
    with Image.open(found['score_maps_2.png']) as early:
        with Image.open(found['score_maps_4.png']) as late:
            assert early.size == late.size, 'the same photos'
            assert early.tobytes() != late.tobytes(), 'other weights, other maps'
    (events,) = (tmp_path / 'drawn').glob('*/vis_data/events.out.tfevents.*')
    board = EventAccumulator(str(events)).Reload()
    for name in ('score_maps', 'retrieval'):
        assert [image.step for image in board.Images(name)] == [2, 4]


@pytest.mark.slow
def test_nothing_to_find_is_a_warning_and_intervals_leave_out(tmp_path):
    hook = dict(type='PictureHook', num_photos=0, num_queries=2, interval=2)
    runner = run(tmp_path, [hook])  # every fake product has one picture
    assert not sheets(tmp_path)
    (log,) = tmp_path.glob('*/*.log')
    text = log.read_text()
    assert text.count('none of 8 pictures has another one of the same product_id') == 1
    assert runner.iter == 4
    with pytest.raises(ValueError, match='interval is at least 1, got 0'):
        PictureHook(interval=0)


@pytest.mark.slow
def test_dropout_would_show_a_draw(tmp_path):
    """A draw from the random state changes the weights, so the test above can fail."""

    @torch.no_grad()
    def draw(self, runner, metrics=None):
        torch.rand(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PictureHook, 'after_val_epoch', draw)
        disturbed = run(tmp_path / 'disturbed', [dict(type='PictureHook')])
    plain = run(tmp_path / 'plain', [])
    name = 'network.image_proj.weight'
    assert not torch.equal(plain.model.state_dict()[name], disturbed.model.state_dict()[name])
