"""What a checkpoint holds beside weights, so that nothing else of its training is needed.

``meta`` of every checkpoint gets

- ``encoders``: name -> ``model_type`` and ``config`` of each encoder, which a
  training's config leaves to the folder of initial weights (``pretrained``);
- ``tokenizer``: the tokenizer of the training's texts, whole.

So an evaluation, or a training that goes on, reads neither that folder nor the
catalogue that the vocabulary was made from, and what has changed there since
cannot change what a token id means.
"""

import copy
from collections.abc import Iterator

from mmengine.runner import find_latest_checkpoint
from torch import nn
from transformers import PretrainedConfig

from eclip_mm.checkpoint.config_text import parse_config_text, refuse_import_paths
from eclip_mm.checkpoint.safe_loading import read_checkpoint

ENCODERS = ('image_encoder', 'text_encoder')
#: fields of a `transformers` config that describe a file, or follow from the others
_NOT_ARCHITECTURE = (
    'transformers_version',
    'model_type',
    'architectures',
    'dtype',
    'torch_dtype',
    '_name_or_path',
    'id2label',
    'label2id',
    'stage_names',
    'out_features',
    'out_indices',
)


def encoder_architectures(model: nn.Module) -> dict[str, dict]:
    """``model_type`` and ``config`` of both encoders, whatever named them to the training.

    Args:
        model: an ``ECLIP``; any other model has none.

    Returns:
        Name in the model's config -> architecture.
    """
    found = {}
    for name in ENCODERS:
        encoder = getattr(getattr(model, 'network', None), name, None)
        config = getattr(getattr(encoder, 'model', None), 'config', None)
        if isinstance(config, PretrainedConfig):
            fields = config.to_dict()
            fields = {key: fields[key] for key in fields if key not in _NOT_ARCHITECTURE}
            found[name] = dict(model_type=config.model_type, config=fields)
    return found


def find_tokenizers(node) -> Iterator[dict]:
    """Every part of a config that tokenizes: ``TokenizeText``, ``ClassPromptHook``."""
    if isinstance(node, dict):
        if node.get('type') in ('TokenizeText', 'ClassPromptHook') and 'tokenizer' in node:
            yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for part in node:
        yield from find_tokenizers(part)


def use_saved_tokenizer(cfg, meta: dict, checkpoint: str) -> bool:
    """Let a config read its tokenizer from a checkpoint, in place.

    Args:
        cfg: config, or part of one.
        meta: of the checkpoint.
        checkpoint: its path.

    Returns:
        False where the config has a tokenizer and the checkpoint none.
    """
    parts = list(find_tokenizers(cfg))
    if not (meta.get('tokenizer') or {}).get('json'):
        return not parts
    for part in parts:
        part['tokenizer'] = dict(type='CheckpointTokenizer', checkpoint=checkpoint)
    return True


def use_saved_architecture(model: dict, meta: dict) -> None:
    """Let a model's config stand without its folders of initial weights, in place.

    Fields that the config itself gives stay.
    """
    for name, saved in (meta.get('encoders') or {}).items():
        part = model.get(name)
        if isinstance(part, dict) and part.get('pretrained'):
            saved = copy.deepcopy(saved)
            own = part.get('config') or {}
            part.update(saved, config={**saved['config'], **own}, pretrained=None)


def use_checkpoint(cfg, checkpoint: str) -> None:
    """Let a config read from a checkpoint all that is in it.

    Args:
        cfg: ``Config`` with a model; changed in place.
        checkpoint: file.
    """
    meta = read_meta(checkpoint)
    use_saved_architecture(cfg.model, meta)
    use_saved_tokenizer(cfg._cfg_dict, meta, str(checkpoint))


def go_on_from_checkpoint(cfg) -> None:
    """Let a training that goes on read all it can from its own checkpoint.

    Args:
        cfg: ``Config`` with ``resume``: its ``load_from``, or the last
            checkpoint in its ``work_dir``; changed in place. Unchanged where
            there is none yet.
    """
    checkpoint = cfg.get('load_from') or find_latest_checkpoint(cfg.work_dir)
    if checkpoint:
        use_checkpoint(cfg, checkpoint)


def read_meta(filename: str) -> dict:
    """``meta`` of a checkpoint; empty where it has none."""
    meta = read_checkpoint(filename, 'meta').get('meta')
    return meta if isinstance(meta, dict) else {}


# all that an evaluation takes from a stored config
SAVED_KEYS = ('model', 'data_preprocessor', 'test_dataloader', 'test_pipeline', 'custom_imports')


def read_saved_config(filename: str) -> dict:
    """What an evaluation takes from the config in a checkpoint, which is never executed.

    Returns:
        Its :data:`SAVED_KEYS`, as far as it has them; encoders with the
        architecture and pipelines with the tokenizer that the checkpoint
        itself holds.

    Raises:
        ConfigTextError: the stored text is more than plain values, or names a
            component by the path of a Python object.
    """
    meta = read_meta(filename)
    name = f'{filename}: its config'
    saved = parse_config_text(meta['cfg'], name) if meta.get('cfg') else {}
    saved = {key: saved[key] for key in SAVED_KEYS if key in saved}
    saved.get('model', {}).pop('compile', None)  # of older versions; CompileHook compiles now
    use_saved_architecture(saved.get('model', {}), meta)
    use_saved_tokenizer(saved, meta, str(filename))
    refuse_import_paths(saved, name)
    return saved
