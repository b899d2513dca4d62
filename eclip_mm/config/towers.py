"""What a config leaves to the folder of a pretrained tower: the tokenizer."""

import warnings
from pathlib import Path

from eclip_mm.checkpoint.metadata import find_tokenizers


def use_tower_tokenizer(cfg) -> None:
    """Take ``tokenizer=None`` from the folder of the text tower, in place.

    Warns where a model that starts from a dual encoder is given another
    tokenizer, whose ids it does not know.

    Args:
        cfg: ``Config``.

    Raises:
        KeyError: ``tokenizer`` is None, and no text tower has a folder.
    """
    model = cfg.get('model') or {}
    dual = model.get('pretrained_dual')
    dual = dual.get('pretrained') if isinstance(dual, dict) else dual
    source = dual or (model.get('text_encoder') or {}).get('pretrained')
    for part in find_tokenizers(cfg._cfg_dict):
        tokenizer = part['tokenizer']
        if tokenizer is None and source is None:
            raise KeyError(
                f'{part["type"]}.tokenizer is None, but neither model.pretrained_dual nor '
                'model.text_encoder.pretrained names a folder to take it from'
            )
        if tokenizer is None:
            part['tokenizer'] = dict(type='AutoTokenizer', name_or_path=source)
        elif dual and isinstance(tokenizer, dict) and 'checkpoint' not in tokenizer:
            name = tokenizer.get('name_or_path')
            if name is None or Path(name).name != Path(dual).name:
                warnings.warn(
                    f'{part["type"]}.tokenizer={dict(tokenizer)}, but model.pretrained_dual='
                    f'{dual!r} has a tokenizer of its own: set tokenizer=None to take it',
                    stacklevel=2,
                )
