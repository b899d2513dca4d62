"""Checkpoint metadata: what an evaluation or a resumed training needs besides the weights.

``meta`` of every checkpoint has

- ``encoders``: name -> ``model_type``, ``config`` and pooling rules of each encoder, which
  the config of the training may leave to a folder of initial weights (``pretrained``);
  under ``model`` what it may leave to a dual encoder (``pretrained_dual``);
- ``tokenizer``: the complete tokenizer of the training's texts.

An evaluation or a resumed training therefore needs neither that folder nor the
catalogue that the vocabulary was built from, and later changes of these cannot
change the meaning of a token id.
"""

import copy
from collections.abc import Iterator
from pathlib import Path

from torch import nn
from transformers import CONFIG_MAPPING, PretrainedConfig

from eclip_mm.checkpoint.dual import dual_options, use_saved_dual
from eclip_mm.checkpoint.old_pooling import use_old_rules
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.utils.config_text import parse_config_text, refuse_import_paths

ENCODERS = ('image_encoder', 'text_encoder')
#: fields of a `transformers` config that describe a file or can be derived from the others
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
    """``model_type`` and ``config`` of both encoders, read from the built model.

    Args:
        model: an ``ECLIP``. Other models have no such encoders.

    Returns:
        Name of the encoder in the model's config -> its architecture.
    """
    found = {}
    for name in ENCODERS:
        encoder = getattr(getattr(model, 'network', None), name, None)
        config = getattr(getattr(encoder, 'model', None), 'config', None)
        if isinstance(config, PretrainedConfig):
            found[name] = dict(
                model_type=config.model_type,
                config=architecture_fields(config),
                **getattr(encoder, 'rules', dict)(),
            )
    return found | dual_options(model)


def architecture_fields(config: PretrainedConfig) -> dict:
    """The fields of a `transformers` config that say what a model computes."""
    return {k: v for k, v in config.to_dict().items() if k not in _NOT_ARCHITECTURE}


def find_tokenizers(node) -> Iterator[dict]:
    """Every part of a config that has a tokenizer: ``TokenizeText`` and ``ClassPromptHook``."""
    if isinstance(node, dict):
        if node.get('type') in ('TokenizeText', 'ClassPromptHook') and 'tokenizer' in node:
            yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for part in node:
        yield from find_tokenizers(part)


def use_saved_tokenizer(cfg, meta: dict, checkpoint: str) -> bool:
    """Replace the tokenizers of a config by the one in a checkpoint, in place.

    Args:
        cfg: config or part of one.
        meta: ``meta`` of the checkpoint.
        checkpoint: path of the checkpoint.

    Returns:
        False if the config has a tokenizer and the checkpoint has none.
    """
    parts = list(find_tokenizers(cfg))
    if not (meta.get('tokenizer') or {}).get('json'):
        return not parts
    for part in parts:
        part['tokenizer'] = dict(type='CheckpointTokenizer', checkpoint=checkpoint)
    return True


def use_saved_architecture(model: dict, meta: dict) -> None:
    """Replace ``pretrained`` of a model's encoders by the architecture in a checkpoint, in place.

    Fields that the config of an encoder sets itself are kept. An older checkpoint, which does
    not say how its features were pooled, keeps the pooling that it was trained with.

    Args:
        model: config of an ``ECLIP``.
        meta: ``meta`` of the checkpoint.
    """
    use_old_rules(model, meta.get('encoders') or {})
    use_saved_dual(model, meta.get('encoders') or {})
    for name, saved in (meta.get('encoders') or {}).items():
        part = model.get(name)
        if isinstance(part, dict) and part.get('pretrained'):
            saved = copy.deepcopy(saved)
            own = part.get('config') or {}
            fields = known_fields(saved['model_type'], saved['config'])
            part.update(saved, config={**fields, **own}, pretrained=None)


def known_fields(model_type: str, fields: dict) -> dict:
    """The fields of an architecture that this version of ``transformers`` has.

    A config file may hold fields of other versions or of other programs, which nothing reads:
    that of all-MiniLM-L6-v2 has ``gradient_checkpointing``.

    Args:
        model_type: of the architecture.
        fields: as a checkpoint holds them.
    """
    if model_type not in CONFIG_MAPPING:
        return fields
    default = CONFIG_MAPPING[model_type]()
    return {key: value for key, value in fields.items() if hasattr(default, key)}


def use_checkpoint(cfg, checkpoint: str) -> None:
    """Take architecture and tokenizer of a config from a checkpoint.

    Args:
        cfg: ``Config`` with a model; changed in place.
        checkpoint: path of the checkpoint.
    """
    meta = read_meta(checkpoint)
    use_saved_architecture(cfg.model, meta)
    use_saved_tokenizer(cfg._cfg_dict, meta, str(checkpoint))


def use_resumed_checkpoint(cfg) -> None:
    """Take architecture and tokenizer from the checkpoint that a training resumes from.

    Args:
        cfg: ``Config`` with ``resume=True``; changed in place. The checkpoint is
            its ``load_from``, or else the last one in its ``work_dir``, which
            becomes ``load_from``. Without either the config stays as it is.
    """
    checkpoint = cfg.get('load_from') or last_checkpoint(cfg.work_dir)
    if checkpoint:
        cfg.load_from = str(checkpoint)
        use_checkpoint(cfg, cfg.load_from)


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """The last checkpoint of a training, also after its folder was moved or copied.

    mmengine stores the whole path, which then leads to the old place.

    Returns:
        The file of that name in the folder, or the stored path if the folder
        has none; None if nothing was stored.
    """
    stored = Path(work_dir, 'last_checkpoint')
    if not stored.is_file():
        return None
    checkpoint = Path(stored.read_text().strip())
    inside = Path(work_dir, checkpoint.name)
    return inside if inside.exists() else checkpoint


def read_meta(filename: str) -> dict:
    """``meta`` of a checkpoint; empty if it has none."""
    meta = read_checkpoint(filename, 'meta').get('meta')
    return meta if isinstance(meta, dict) else {}


#: what an evaluation takes from a stored config
SAVED_KEYS = ('model', 'data_preprocessor', 'test_dataloader', 'test_pipeline', 'custom_imports')


def read_saved_config(filename: str) -> dict:
    """What an evaluation takes from the config in a checkpoint, without executing it.

    Returns:
        Those of :data:`SAVED_KEYS` that it has. Encoders have the architecture
        and pipelines the tokenizer that are stored in the checkpoint.

    Raises:
        ConfigTextError: the stored text contains more than plain values, or names
            a component by the import path of a Python object.
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
