"""A tiny catalogue, a tiny config and the tools as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

from eclip_mm.datasets.synthetic import SyntheticCatalogueConfig, write_synthetic_catalogue

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
    decoder=dict(num_blocks=1, num_heads=2, dropout=0.1),
    pretext_heads=dict(itm=dict(embed_dims=32)))

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

KILLABLE = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['kill_hook'])
custom_hooks = [
    dict(type='KillHook', at={at}),
]
"""

KILL_HOOK = """
import os
import signal

from mmengine.hooks import Hook

from eclip_mm.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
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
        (folder / 'kill_hook.py').write_text(KILL_HOOK)
        self.config = self.shrink(root / 'configs/demo/eclip_tiny_synthetic.py', 'tiny.py')

    def shrink(self, base: Path, name: str) -> Path:
        """A child of a demo config that trains in seconds."""
        path = self.folder / name
        path.write_text(CONFIG.format(base=str(base), data=str(self.data)))
        return path

    def killed_at(self, step: int) -> Path:
        """A child of the tiny config that is killed before a step."""
        path = self.folder / 'killable.py'
        path.write_text(KILLABLE.format(at=step))
        return path

    def start(self, name: str, *command, **env) -> subprocess.Popen:
        """A tool in the background; its output goes to ``{name}.log``."""
        if str(command[0]).endswith('.py'):
            command = (sys.executable, *command)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
        with open(self.folder / f'{name}.log', 'w') as log:
            # a file, not a pipe: workers of a killed run would keep a pipe open
            return subprocess.Popen(
                [str(part) for part in command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=dict(
                    os.environ,
                    PATH=path,
                    OMP_NUM_THREADS='1',
                    HF_HUB_OFFLINE='1',
                    PYTHONPATH=os.pathsep.join([str(self.root), str(self.folder)]),
                    **env,
                ),
            )

    def log(self, name: str) -> str:
        return (self.folder / f'{name}.log').read_text()

    def train(self, name: str, *args, config: Path | None = None) -> subprocess.Popen:
        """tools/train.py in the background, in the work dir ``name``."""
        return self.start(
            name,
            self.root / 'tools/train.py',
            config or self.config,
            '--work-dir',
            self.folder / name,
            *args,
        )

    def wait(self, name: str, process: subprocess.Popen, timeout: float = 300) -> str:
        """Waits for a tool that must succeed and returns its output."""
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        assert code == 0, self.log(name)[-4000:]
        return self.log(name)
