"""A tiny catalogue, a tiny config and the tools as a user starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from eclip_mm.datasets.synthetic import SyntheticCatalogueConfig, write_synthetic_catalogue
from helpers.processes import Program

# A child of the demo config, as a user's own would be: 64 products in batches of 8 make 8 steps
# an epoch. BERT drops out, so that a resumed run must also repeat what is drawn.
CONFIG = """
_base_ = {base!r}

tokenizer = dict(type='CatalogueWordPiece', catalogue={data!r} + '/train.parquet', vocab_size=300)
tower = dict(hidden_size=32, num_attention_heads=2, intermediate_size=64, num_hidden_layers=1)
model = dict(
    embed_dims=32,
    image_encoder=dict(
        _delete_=True, type='TransformersImageEncoder', model_type='vit',
        config=dict(**tower, image_size=32, patch_size=8)),
    text_encoder=dict(
        _delete_=True, type='TransformersTextEncoder', model_type='bert',
        config=dict(**tower, vocab_size=300, max_position_embeddings=64,
                    hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.1)),
    queries=dict(num_queries=4),
    decoder=dict(num_blocks=1, num_heads=2, dropout=0.1))

train_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='RandomResizedCrop', size=32, scale=(0.8, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=55),
    dict(type='PackProductInputs'),
]
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=32),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=55),
    dict(type='PackProductInputs'),
]
train_dataloader = dict(
    batch_size=8, num_workers=1, sampler=dict(num_passes=1),
    dataset=dict(catalogue={data!r} + '/train.parquet', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=20, num_workers=0, persistent_workers=False,
    dataset=dict(datasets=[
        dict(type='ProductImageDataset', catalogue={data!r} + f'/{{split}}.parquet', split=split,
             sources=['comment', 'video'], pipeline=test_pipeline)
        for split in ('photos', 'products')]))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=2, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
    dict(type='PolyLR', power=1.0, eta_min=0, by_epoch=True, begin=0, end=2,
         convert_to_iter_based=True)]
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=3, save_last=True, max_keep_ckpts=3,
                    save_best='photos/right_box', rule='greater'),
    logger=dict(interval=1))
custom_hooks = [
    dict(type='ProgressBarHook'),
]
"""

# Writes down the products of each step, and kills the run before one.
STEP_HOOK = """
import json
import os
import signal

from mmengine.hooks import Hook

from eclip_mm.registry import HOOKS


@HOOKS.register_module()
class StepHook(Hook):

    def __init__(self, file, kill_at):
        self.file, self.kill_at = file, kill_at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        ids = [sample.product_id for sample in data_batch['data_samples']]
        with open(self.file, 'a') as file:
            file.write(json.dumps([runner.iter, ids]) + '\\n')
"""
RECORDED = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['step_hook'])
custom_hooks = [dict(type='StepHook', file={file!r}, kill_at={kill_at})]
train_dataloader = dict(num_workers={num_workers}, persistent_workers={num_workers} > 0{data})
{more}
"""


class Workplace:
    """A folder with catalogue and config, in which the tools are started.

    Attributes:
        folder: where everything is.
        config: path of the tiny config.
        data: folder of the catalogue.
    """

    def __init__(self, folder: Path, root: Path):
        self.folder, self.root = folder, root
        self.data = folder / 'data'
        write_synthetic_catalogue(
            SyntheticCatalogueConfig(
                num_products=64,
                num_heldout_products=16,
                merchant=1,
                comment=1,
                video=1,
                heldout_photos=2,
                max_photo_products=24,
                image_size=48,
            ),
            self.data,
        )
        (folder / 'step_hook.py').write_text(STEP_HOOK)
        self.config = self.shrink(root / 'configs/demo/eclip_tiny_synthetic.py', 'tiny.py')

    def shrink(self, base: Path, name: str) -> Path:
        """A child of a demo config that trains in seconds."""
        path = self.folder / name
        path.write_text(CONFIG.format(base=str(base), data=str(self.data)))
        return path

    def recorded(
        self, name: str, num_workers: int, kill_at: int = -1, data: str = '', more: str = ''
    ) -> Path:
        """A child of the tiny config that writes down the products of its steps.

        Args:
            name: of the config and of what :meth:`steps` reads.
            num_workers: of the training's loader.
            kill_at: the step before which the training is killed.
            data: further arguments of the loader.
            more: further lines of the config.
        """
        path = self.folder / f'{name}.py'
        file = str(self.folder / f'{name}.jsonl')
        data = data and f', {data}'
        path.write_text(
            RECORDED.format(
                file=file, kill_at=kill_at, num_workers=num_workers, data=data, more=more
            )
        )
        return path

    def steps(self, name: str) -> dict[int, list[str]]:
        """Number of a step -> ids of its products."""
        lines = (self.folder / f'{name}.jsonl').read_text().splitlines()
        return dict(json.loads(line) for line in lines)

    def start(self, name: str, *command, **env) -> Program | subprocess.Popen:
        """A tool in the background; its output goes to ``{name}.log``."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
        source = os.pathsep.join([str(self.root), str(self.folder)])
        env = {**os.environ, 'PATH': path, 'HF_HUB_OFFLINE': '1', 'PYTHONPATH': source, **env}
        log = self.folder / f'{name}.log'
        if str(command[0]).endswith('.py'):
            return Program(command, log, self.folder, env)
        with open(log, 'w') as file:
            return subprocess.Popen(
                [str(part) for part in command],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=env,
            )

    def log(self, name: str) -> str:
        return (self.folder / f'{name}.log').read_text()

    def train(self, name: str, *args, config: Path | None = None, expected: int = 0) -> str:
        """tools/train.py in the work dir ``name``; returns its output."""
        work_dir = ('--work-dir', self.folder / name)
        tool = self.root / 'tools/train.py'
        process = self.start(name, tool, config or self.config, *work_dir, *args)
        return self.wait(name, process, expected)

    def wait(self, name: str, process: Program | subprocess.Popen, expected: int = 0) -> str:
        """Waits for a tool, checks its exit code and returns its output."""
        try:
            code = process.wait(600)
        finally:
            process.kill()
        assert code == expected, self.log(name)[-4000:]
        return self.log(name)

    def run(self, name: str, *command, **env) -> str:
        """:meth:`start` and :meth:`wait`."""
        return self.wait(name, self.start(name, *command, **env))
