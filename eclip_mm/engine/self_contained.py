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
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn
from transformers import PretrainedConfig

from eclip_mm.datasets.tokenizers import JsonTokenizer, build_tokenizer, vocabulary_fingerprint
from eclip_mm.registry import TASK_UTILS

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
        dict: Name in the model's config -> architecture.
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


def tokenizer_state(cfg: dict) -> dict | None:
    """The tokenizer of a training's config as plain data.

    Returns:
        dict: ``fingerprint`` of the vocabulary, ``pad_token_id``, and ``json``,
        all of it; None in the place of ``json`` for a tokenizer in Python.
        None for a config without a tokenizer, with several, or with one that
        does not tell its vocabulary.
    """
    built = {id(t): t for t in map(build_tokenizer, _configs(cfg.get('train_dataloader')))}
    if len(built) != 1:
        return None
    (tokenizer,) = built.values()
    fingerprint = vocabulary_fingerprint(tokenizer)
    if fingerprint is None:
        return None
    to_json = getattr(tokenizer, 'to_json', lambda: None)
    return dict(fingerprint=fingerprint, pad_token_id=tokenizer.pad_token_id, json=to_json())


def _configs(node) -> list:
    return [part['tokenizer'] for part in find_tokenizers(node or {})]


def use_saved_tokenizer(cfg, meta: dict, checkpoint: str) -> bool:
    """Let a config read its tokenizer from a checkpoint, in place.

    Args:
        cfg: config, or part of one.
        meta: of the checkpoint.
        checkpoint: its path.

    Returns:
        bool: False where the config has a tokenizer and the checkpoint none.
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


def check_tokenizer(cfg, meta: dict) -> None:
    """Compare the tokenizers of a config with that of a checkpoint.

    Raises:
        ValueError: Another vocabulary: every token id would mean another word.
    """
    saved = meta.get('tokenizer')
    for config in _configs(cfg) if saved else ():
        tokenizer = build_tokenizer(config)
        if vocabulary_fingerprint(tokenizer) not in (None, saved['fingerprint']):
            raise ValueError(
                f'{tokenizer!r} has another vocabulary than the one that the checkpoint was '
                'trained with. Has its catalogue or its vocabulary file changed since? Bring '
                "back the old one, or set tokenizer=dict(type='CheckpointTokenizer', "
                'checkpoint=PATH)'
            )


def read_meta(filename: str) -> dict:
    """``meta`` of a checkpoint; empty where it has none."""
    # 'meta': the weights are not kept in memory
    checkpoint = CheckpointLoader.load_checkpoint(str(filename), map_location='meta')
    meta = checkpoint.get('meta')
    return meta if isinstance(meta, dict) else {}


@TASK_UTILS.register_module()
class CheckpointTokenizer(JsonTokenizer):
    """The tokenizer that a checkpoint was trained with; its catalogue is not needed.

    Args:
        checkpoint: file.

    Raises:
        ValueError: The checkpoint holds none.
    """

    def __init__(self, checkpoint: str) -> None:
        saved = read_meta(checkpoint).get('tokenizer') or {}
        if not saved.get('json'):
            raise ValueError(
                f'{checkpoint} holds no tokenizer: an older version wrote it, or the training '
                'had none that is a file. Name the tokenizer of the training in the config'
            )
        super().__init__(saved['json'], saved['pad_token_id'])
        self.checkpoint = checkpoint

    def __repr__(self) -> str:
        return f'{type(self).__name__}({str(self.checkpoint)!r})'
