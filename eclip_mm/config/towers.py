"""What a config leaves to the folder of a pretrained tower: the tokenizer."""

import warnings
from pathlib import Path

from transformers import AutoConfig

from eclip_mm.checkpoint.metadata import find_tokenizers


def use_tower_tokenizer(cfg) -> None:
    """Replace ``tokenizer=None`` by that of the text tower, in place.

    A text tower that starts from a folder has its tokenizer there. One that starts
    from random weights reads the words of the training catalogue, as many as its
    embedding has rows.

    Warns where a model that starts from a dual encoder is given another
    tokenizer, whose ids it does not know.

    Args:
        cfg: ``Config``.

    Raises:
        KeyError: ``tokenizer`` is None, and there is neither a folder nor a training
            catalogue.
    """
    model = cfg.get('model') or {}
    dual = model.get('pretrained_dual')
    dual = dual.get('pretrained') if isinstance(dual, dict) else dual
    source = dual or (model.get('text_encoder') or {}).get('pretrained')
    for part in find_tokenizers(cfg._cfg_dict):
        tokenizer = part['tokenizer']
        if tokenizer is None:
            own = None if source else _words_of_catalogue(cfg)
            part['tokenizer'] = own or dict(type='AutoTokenizer', name_or_path=source)
            if source is own is None:
                raise KeyError(
                    f'{part["type"]}.tokenizer is None, but neither model.pretrained_dual nor '
                    'model.text_encoder.pretrained names a folder to take it from, and '
                    'train_dataloader has no catalogue on a local disk to take its words'
                )
        elif dual and isinstance(tokenizer, dict) and 'checkpoint' not in tokenizer:
            name = tokenizer.get('name_or_path')
            if name is None or Path(name).name != Path(dual).name:
                warnings.warn(
                    f'{part["type"]}.tokenizer={dict(tokenizer)}, but model.pretrained_dual='
                    f'{dual!r} has a tokenizer of its own: set tokenizer=None to take it',
                    stacklevel=2,
                )


def _words_of_catalogue(cfg) -> dict | None:
    """A tokenizer for a text encoder with random weights; None without a training catalogue."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while isinstance(dataset, dict) and 'catalogue' not in dataset:
        dataset = dataset.get('dataset') or next(iter(dataset.get('datasets') or ()), None)
    catalogue = dataset['catalogue'] if dataset else None
    paths = [catalogue] if isinstance(catalogue, str) else list(catalogue or ())
    encoder = (cfg.get('model') or {}).get('text_encoder')
    if not encoder or not paths or any('://' in str(path) for path in paths):
        return None
    fields = encoder.get('config') or {}
    vocab_size = fields.get('vocab_size')
    if vocab_size is None:
        vocab_size = AutoConfig.for_model(encoder.get('model_type', 'bert')).vocab_size
    return dict(type='CatalogueWordPiece', catalogue=catalogue, vocab_size=vocab_size)
