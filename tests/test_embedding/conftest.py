"""A tiny model with its checkpoint and config, and a catalogue with every kind of fault."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eclip_mm.embedding import EmbedOptions
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers.catalogues import make_rows, plain_png, write_rows
from test_datasets.conftest import remote  # noqa: F401 (a fixture)

CONFIG = """
model = {model!r}
tokenizer = dict(type='CatalogueWordPiece', catalogue={catalogue!r}, vocab_size=100)
test_pipeline = [
    dict(type='LoadProductImages'),
    dict(type='Resize', size=32),
    dict(type='TokenizeText', tokenizer=tokenizer, max_length=16),
    dict(type='PackProductInputs'),
]
test_dataloader = dict(
    dataset=dict(type='ProductImageDataset', catalogue={catalogue!r}, pipeline=test_pipeline))
test_evaluator = []
"""


@pytest.fixture(scope='package')
def place(tmp_path_factory) -> Path:
    """A folder with ``config.py``, ``model.pth``, ``good.parquet`` and ``faulty.jsonl``."""
    folder = tmp_path_factory.mktemp('embedding')
    rows = make_rows(11)
    rows[4]['images'] = rows[4]['images'][:1]
    write_rows(rows, folder / 'good.parquet')  # groups of 3 rows
    cfg = tiny_model_config(embed_dims=16, num_blocks=1)
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg).state_dict(), meta={}), folder / 'model.pth')
    text = CONFIG.format(model=cfg, catalogue=str(folder / 'good.parquet'))
    (folder / 'config.py').write_text(text)
    write_faulty(folder)
    return folder


def write_faulty(folder: Path) -> None:
    """Lines: good, no JSON, (blank), no text, one broken picture of two, only broken, good."""
    (folder / 'good.png').write_bytes(plain_png(90))
    (folder / 'broken.png').write_bytes(plain_png(90)[:40])
    good, broken = (dict(path=f'{name}.png', source='merchant') for name in ('good', 'broken'))
    gone = dict(path='gone.png', source='comment')
    rows = [
        dict(product_id='a', text='one', images=[good]),
        dict(product_id='b', text=' ', images=[good]),
        dict(product_id='c', text='three', images=[broken, good]),
        dict(product_id='d', text='four', images=[broken, gone]),
        dict(product_id='e', text='five', images=[good]),
    ]
    lines = [json.dumps(row) for row in rows]
    lines[1:1] = ['{"product_id": ', '']
    (folder / 'faulty.jsonl').write_text('\n'.join(lines) + '\n')


@pytest.fixture
def options(place, tmp_path) -> EmbedOptions:
    """Options for shards of 4 rows and batches of 3; a test changes them with ``replace``."""
    return EmbedOptions(
        config=str(place / 'config.py'),
        checkpoint=str(place / 'model.pth'),
        catalogue=[str(place / 'good.parquet')],
        out=str(tmp_path / 'features'),
        per=('product', 'picture'),
        rows_per_shard=4,
        batch_size=3,
        device='cpu',
    )


@pytest.fixture
def both(options, place) -> EmbedOptions:
    """The good and the faulty catalogue."""
    return replace(options, catalogue=[*options.catalogue, str(place / 'faulty.jsonl')])
