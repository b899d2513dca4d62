"""A tiny checkpoint as a training writes it, which began from folders that are gone."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from eclip_mm.checkpoint.metadata import encoder_architectures
from eclip_mm.datasets import CatalogueWordPiece
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers.catalogues import make_rows, write_rows

TEXTS = 'red mug, blue mug, green bowl, red bowl, yellow plate, green fork, blue spoon'.split(', ')


def write_checkpoint(folder: Path, **model) -> Path:
    """A checkpoint of a random model; its config leaves both towers to folders.

    Args:
        folder: gets ``shop.parquet`` and ``epoch_6.pth``.
        model: arguments of the model that replace those of the tiny one.
    """
    rows = [dict(row, text=text) for row, text in zip(make_rows(7), TEXTS, strict=True)]
    write_rows(rows, folder / 'shop.parquet')
    tokenizer = dict(
        type='CatalogueWordPiece', catalogue=str(folder / 'shop.parquet'), vocab_size=60
    )
    negatives = dict(type='TextNegatives', size=16)
    torch.manual_seed(0)
    cfg = tiny_model_config(
        **dict(embed_dims=16, num_blocks=1, num_queries=5, negative_queries=negatives) | model
    )
    built = MODELS.build(cfg)
    with torch.no_grad():
        for name, param in built.named_parameters():
            if 'lora_B' in name:  # which begins at 0
                param.normal_()
            elif 'word_embeddings' in name or 'patch_embeddings' in name:
                param.mul_(20)  # texts and pictures that differ have different features
        if hasattr(built.negative_queries, 'ring_feats'):
            feats = F.normalize(torch.randn(12, 16), dim=-1)
            built.negative_queries.observe(feats, torch.arange(12))
    encoders = encoder_architectures(built)
    for name in ('image_encoder', 'text_encoder'):
        cfg[name] = dict(type=cfg[name]['type'], pretrained=f'gone/{name}')
    pipeline = [
        dict(type='LoadProductImages'),
        dict(type='Resize', size=32),
        dict(type='TokenizeText', tokenizer=tokenizer, max_length=16),
        dict(type='PackProductInputs'),
    ]
    test = dict(type='ProductImageDataset', catalogue='test.parquet', pipeline=pipeline)
    saved = Config(
        dict(
            model=cfg,
            train_dataloader=dict(dataset=dict(catalogue='data/train.parquet')),
            test_dataloader=dict(dataset=test),
        )
    )
    words = CatalogueWordPiece(tokenizer['catalogue'], 60)
    meta = dict(
        cfg=saved.pretty_text,
        encoders=encoders,
        tokenizer=dict(json=words.to_json(), pad_token_id=0, fingerprint='x'),
        training=dict(batch_size=19),
        iter=600,
        epoch=6,
    )
    path = folder / 'epoch_6.pth'
    torch.save(dict(state_dict=built.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='package')
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('checkpoint'))
