"""A model for use, from a checkpoint of a training or from a folder of ``tools/export.py``."""

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from eclip_mm.checkpoint.metadata import (
    encoder_architectures,
    read_saved_config,
    use_saved_architecture,
)
from eclip_mm.checkpoint.model_folder import read_model_folder
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.config.from_checkpoint import saved_pipeline, without_pretrained
from eclip_mm.datasets.tokenizers import JsonTokenizer
from eclip_mm.datasets.transforms.text import TokenizeText
from eclip_mm.registry import MODELS
from eclip_mm.utils.files import sha256_of

#: options of a model's config that only training reads
TRAINING_OPTIONS = ('freeze', 'lora', 'chunk_size', 'num_distractors')


@dataclass
class LoadedModel:
    """A model and what its inputs go through.

    Attributes:
        model: an ``ECLIP`` in evaluation mode, without heads and momentum model,
            which only training and prompts that are pictures need. Adapters (LoRA)
            are merged into its weights.
        config: config of the model that needs no other file.
        pictures: transforms of a picture, from the file to the network input.
        tokenize: makes token ids of a text.
        checkpoint: ``name`` and ``sha256`` of the checkpoint.
    """

    model: nn.Module
    config: dict
    pictures: list[dict]
    tokenize: TokenizeText
    checkpoint: dict


def load_source(path: str | Path) -> LoadedModel:
    """Load a folder of ``tools/export.py`` or a checkpoint.

    Raises:
        FileNotFoundError: there is neither.
        ModelFolderError: the folder is damaged.
        ValueError: the checkpoint is damaged, or does not say what its model is.
    """
    path = Path(path)
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} is neither a checkpoint nor a folder of tools/export.py')
    return _load_checkpoint(path)


def _load_folder(path: Path) -> LoadedModel:
    folder = read_model_folder(path)
    tokenizer = JsonTokenizer(folder.tokenizer, folder.texts['pad_token_id'])
    return LoadedModel(
        model=_build(folder.model, folder.weights, path),
        config=folder.model,
        pictures=folder.pictures,
        tokenize=TokenizeText(tokenizer, folder.texts['max_length']),
        checkpoint=folder.checkpoint,
    )


def _load_checkpoint(path: Path) -> LoadedModel:
    saved = read_saved_config(str(path))
    if 'model' not in saved:
        raise ValueError(
            f'{path} has no config of its training, so what its model is made of is not known: '
            'give a checkpoint that tools/train.py wrote'
        )
    if 'image_encoder' not in saved['model']:
        raise ValueError(
            f'{path} is a {saved["model"].get("type")}, not a pretrained ECLIP. A detector is '
            'used as it is, by Eclip(CHECKPOINT).detect'
        )
    config = copy.deepcopy(saved['model'])
    if saved.get('data_preprocessor') is not None:  # Runner takes it beside the model as well
        config.setdefault('data_preprocessor', saved['data_preprocessor'])
    config = {key: value for key, value in config.items() if key not in TRAINING_OPTIONS}
    _accept_pipeline(config)
    try:
        pipeline = saved_pipeline(saved, 'pipeline', str(path))
    except KeyError as error:
        raise ValueError(f'{path} has no test pipeline in its config') from error
    texts = [step for step in pipeline if step.get('type') == 'TokenizeText']
    if not texts:
        raise ValueError(f'{path}: the test pipeline in its config has no TokenizeText')
    state = read_checkpoint(path).get('state_dict') or {}
    model = _build(without_pretrained(config), state, path, saved.get('custom_imports'))
    # of a checkpoint that does not say itself what a folder of initial weights said
    use_saved_architecture(config, dict(encoders=encoder_architectures(model)))
    _accept_pipeline(config)
    return LoadedModel(
        model=model,
        config=json.loads(json.dumps(without_pretrained(config))),  # as a folder has it
        pictures=[
            step for step in pipeline if step['type'] not in ('TokenizeText', 'PackProductInputs')
        ],
        tokenize=TokenizeText(**{key: texts[0][key] for key in texts[0] if key != 'type'}),
        checkpoint=dict(name=path.name, sha256=sha256_of(path)),
    )


def _accept_pipeline(config: dict) -> None:
    """Forget the tower's own picture size: the training has chosen another, and was warned."""
    preprocessing = config['image_encoder'].get('preprocessing')
    if preprocessing:
        preprocessing['size'] = None


def _build(
    config: dict, state: dict[str, Tensor], path: Path, imports: dict | None = None
) -> nn.Module:
    """Build a model and load all of its weights but those of heads and momentum model."""
    kind = config.get('type')
    if MODELS.get(kind) is None:
        named = (imports or {}).get('imports')
        wanted = f'{named}, as its training did' if named else 'the module that registers it'
        raise ValueError(f'{path} is a {kind!r}, which eclip_mm does not have: import {wanted}')
    model = MODELS.build(copy.deepcopy(config))
    model.teacher = model.heads = None
    kept = {name: value for name, value in state.items() if _is_used(name)}
    try:
        missing, unexpected = model.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise ValueError(f'{path}: its weights do not fit its config: {error}') from error
    wrong = [name for name in (*missing, *unexpected) if _is_used(name)]
    if wrong:
        raise ValueError(
            f'{path}: its weights do not fit its config, at {_first(wrong)}. It was written by '
            'another version, or was changed'
        )
    return model.eval()


def used_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a :class:`LoadedModel`."""
    return {name: value for name, value in model.state_dict().items() if _is_used(name)}


def _is_used(name: str) -> bool:
    """Whether an entry of a state dict is more than heads, momentum model and step number."""
    return not name.startswith(('teacher.', 'heads.')) and name != '_extra_state'


def _first(names: Iterable[str], count: int = 3) -> str:
    names = list(names)
    return ', '.join(names[:count]) + (f' and {len(names) - count} more' * (len(names) > count))
