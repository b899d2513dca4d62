"""A folder that holds a model for use: weights, config, tokenizer and their sha256 sums.

``tools/export.py`` writes it and ``eclip_mm.Eclip`` reads it. Nothing in it is code: weights are
``safetensors``, everything else is JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from eclip_mm.utils.config_text import ConfigTextError, refuse_import_paths
from eclip_mm.utils.files import sha256_of

WEIGHTS, CONFIG, TOKENIZER, SUMS = (
    'model.safetensors',
    'config.json',
    'tokenizer.json',
    'SHA256SUMS',
)
FILES = (WEIGHTS, CONFIG, TOKENIZER)
#: of the config; a reader takes this one and earlier ones
FORMAT = 1


class ModelFolderError(ValueError):
    """A folder is no model, or is damaged; the message names folder and file."""


@dataclass
class ModelFolder:
    """What a folder holds.

    Attributes:
        model: config of an ``ECLIP`` that needs no other file.
        pictures: transforms of a picture, from the file to the network input.
        texts: ``max_length`` in tokens and ``pad_token_id``.
        checkpoint: ``name`` and ``sha256`` of the file that the folder was made from.
        versions: package -> version that wrote the folder.
        tokenizer: JSON text of the ``tokenizers`` library.
        weights: parameter -> tensor.
    """

    model: dict
    pictures: list[dict]
    texts: dict
    checkpoint: dict
    versions: dict
    tokenizer: str
    weights: dict[str, Tensor]


def write_model_folder(folder: Path, content: ModelFolder) -> None:
    """Write all files but the card into an existing folder.

    Raises:
        TypeError: the config holds something that is not JSON.
    """
    fields = {
        key: value for key, value in vars(content).items() if key not in ('tokenizer', 'weights')
    }
    config = dict(library='eclip_mm', format=FORMAT, **fields)
    text = json.dumps(config, indent=1, ensure_ascii=False) + '\n'
    (folder / CONFIG).write_text(text, encoding='utf-8')
    (folder / TOKENIZER).write_text(content.tokenizer, encoding='utf-8')
    # copies: tensors that share memory are refused
    weights = {name: value.detach().cpu().clone() for name, value in content.weights.items()}
    save_file(weights, folder / WEIGHTS, metadata=dict(format='pt'))
    # safetensors makes a file that its owner alone can read
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)
    lines = [f'{sha256_of(folder / name)}  {name}\n' for name in FILES]
    (folder / SUMS).write_text(''.join(lines), encoding='utf-8')


def read_model_folder(folder: str | Path) -> ModelFolder:
    """Read a folder, after its files have been compared with their sums.

    Raises:
        ModelFolderError: a file is missing or damaged, or a newer version wrote the folder.
    """
    folder = Path(folder)
    check_sums(folder, FILES)
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding='utf-8'))
    if not isinstance(config, dict) or config.pop('library', None) != 'eclip_mm':
        raise ModelFolderError(f'{path} is not a config of eclip_mm')
    if (written := config.pop('format', 0)) > FORMAT:
        raise ModelFolderError(
            f'{path} has format {written}, and this version reads {FORMAT}: update eclip_mm'
        )
    known = set(ModelFolder.__annotations__) - {'tokenizer', 'weights'}
    if config.keys() != known:
        wrong = ', '.join(sorted(config.keys() ^ known))
        raise ModelFolderError(f'{path} has unknown or missing keys: {wrong}')
    try:
        refuse_import_paths(config, str(path))
        weights = load_file(folder / WEIGHTS)
    except (ConfigTextError, SafetensorError) as error:
        raise ModelFolderError(f'{folder}: {error}') from error
    tokenizer = (folder / TOKENIZER).read_text(encoding='utf-8')
    return ModelFolder(tokenizer=tokenizer, weights=weights, **config)


def checkpoint_of(folder: str | Path) -> dict:
    """``name`` and ``sha256`` of the checkpoint that a folder was made from.

    Raises:
        ModelFolderError: the config is missing or damaged.
    """
    check_sums(Path(folder), [CONFIG])
    return json.loads((Path(folder) / CONFIG).read_text(encoding='utf-8'))['checkpoint']


def add_sums(folder: Path, names: Sequence[str]) -> None:
    """Add further files of a folder to its sums."""
    with open(folder / SUMS, 'a', encoding='utf-8') as file:
        file.writelines(f'{sha256_of(folder / name)}  {name}\n' for name in names)


def check_sums(folder: Path, names: Sequence[str]) -> None:
    """Compare files of a folder with their sums.

    Raises:
        ModelFolderError: a file is missing or damaged.
    """
    if not (folder / SUMS).is_file():
        raise ModelFolderError(
            f'{folder} is not a folder of tools/export.py: it has no {SUMS}. Write it with '
            'python tools/export.py CHECKPOINT FOLDER'
        )
    lines = (folder / SUMS).read_text(encoding='utf-8').splitlines()
    sums = {name: digest for digest, _, name in (line.partition('  ') for line in lines)}
    for name in names:
        path = folder / name
        if not path.is_file():
            raise ModelFolderError(f'{path} is missing: copy the whole folder')
        if sums.get(name) != sha256_of(path):
            raise ModelFolderError(
                f'{path} is damaged or was changed: its sha256 is not the one in {SUMS}. Copy the '
                'folder again'
            )
