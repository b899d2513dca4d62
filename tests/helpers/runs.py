"""A whole mmengine run on fake products, in a second."""

import uuid

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import Dataset

from eclip_mm.models.heads import PretextHead
from eclip_mm.registry import DATASETS, MODELS
from eclip_mm.testing import fake_batch, tiny_model_config

BATCH = 4


@DATASETS.register_module(force=True)
class FakeProducts(Dataset):
    """``size`` different products, packed as the pipeline packs them."""

    metainfo: dict = {}

    def __init__(self, size: int = 16):
        batch = fake_batch(size)
        lengths = batch['inputs']['attention_mask'].sum(dim=1)
        self.items = [
            dict(
                inputs=dict(
                    images=batch['inputs']['images'][k],
                    input_ids=batch['inputs']['input_ids'][k, : lengths[k]],
                ),
                data_samples=batch['data_samples'][k],
            )
            for k in range(size)
        ]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index % len(self)]


@MODELS.register_module(force=True)
class NaNHead(PretextHead):
    """A term that is NaN at one call, on one rank or on all.

    Args:
        at: which call, from 0.
        rank: of the process; None for all.
    """

    def __init__(self, at: int, rank: int | None = None):
        super().__init__()
        self.at, self.rank, self.calls = at, rank, 0

    def loss(self, outputs):
        here = self.rank is None or self.rank == outputs.targets[0]
        bad = self.calls == self.at and here
        self.calls += 1
        return dict(loss_bad=outputs.text_feats.sum() * (float('nan') if bad else 0.0))


def runner_config(
    work_dir, epochs: int = 1, model: dict | None = None, hooks=(), **overrides
) -> dict:
    """Config of a run of 4 steps an epoch with the hooks of our base config."""
    cfg = dict(
        model=model or tiny_model_config(embed_dims=16, num_blocks=1),
        work_dir=str(work_dir),
        experiment_name=uuid.uuid4().hex,
        default_scope='eclip_mm',
        train_dataloader=dict(
            batch_size=BATCH,
            num_workers=0,
            drop_last=True,
            sampler=dict(type='ResumableSampler', shuffle=True),
            collate_fn=dict(type='collate_products'),
            dataset=dict(type='FakeProducts'),
        ),
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=epochs),
        optim_wrapper=dict(
            constructor='PretrainOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        ),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=2),
            checkpoint=dict(type='KeepingCheckpointHook', by_epoch=False, interval=2),
            sampler_seed=dict(type='DistSamplerSeedHook'),
        ),
        custom_hooks=[
            dict(type='TeacherUpdateHook'),
            dict(type='StepSeedHook'),
            dict(type='PlainCheckpointHook'),
            *hooks,
        ],
        randomness=dict(seed=0),
        log_level='WARNING',
    )
    cfg.update(overrides)
    return cfg


def make_runner(work_dir, **options) -> Runner:
    torch.manual_seed(0)
    return Runner.from_cfg(Config(runner_config(work_dir, **options)))
