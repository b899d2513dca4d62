"""Towers from the Hugging Face hub."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eclip_mm.checkpoint.towers.known import PACKAGED, TowerError
from eclip_mm.utils.files import sha256_of

#: configs and tokenizers of transformers, and files of sentence-transformers that say how it pools
WANTED = (
    'config.json',
    'preprocessor_config.json',
    'processor_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'tokenizer.model',
    'special_tokens_map.json',
    'added_tokens.json',
    'vocab.txt',
    'vocab.json',
    'merges.txt',
    'spiece.model',
    'sentencepiece.bpe.model',
    'modules.json',
    'sentence_bert_config.json',
    'config_sentence_transformers.json',
    '1_Pooling/config.json',
    'LICENSE',
)
#: the first of these that exists is taken; transformers reads the last with `weights_only`
WEIGHTS = (
    r'model\.safetensors',
    r'model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)',
    r'pytorch_model\.bin',
)


def fetch_hub(name: str, folder: Path) -> dict[str, str]:
    """Download a model of the hub into a folder, and check it by the hub's sums.

    Args:
        name: ``owner/model``, or one of the few that have no owner.
        folder: an empty folder.

    Returns:
        ``licence`` and ``revision``.

    Raises:
        TowerError: the hub cannot be reached, has no such model or does not
            give it; or a file is not the one that the hub lists.
    """
    from huggingface_hub import HfApi

    with _hub_errors(name):
        api = HfApi()
        info = api.model_info(name, files_metadata=True)
        files = {file.rfilename: file for file in info.siblings}
        for file in choose_files(name, list(files)):
            path = Path(api.hf_hub_download(name, file, revision=info.sha, local_dir=folder))
            listed = files[file].lfs and files[file].lfs.sha256
            if listed and sha256_of(path) != listed:
                raise TowerError(
                    f'{name}: {file} has another sha256 than the {listed} that the hub lists; '
                    'it was damaged on its way. Try again'
                )
    shutil.rmtree(folder / '.cache', ignore_errors=True)  # huggingface_hub's notes
    licence = (info.card_data or {}).get('license') or 'not stated'
    return dict(licence=licence, revision=info.sha)


def choose_files(name: str, files: Sequence[str]) -> list[str]:
    """Those files of a model that ``transformers`` needs, weights in one format only.

    Raises:
        TowerError: there is no config or no weights.
    """
    if 'config.json' not in files:
        raise TowerError(f'{name} is no model of transformers: it has no config.json')
    for pattern in WEIGHTS:
        weights = [file for file in files if re.fullmatch(pattern, file)]
        if weights:
            return [file for file in WANTED if file in files] + sorted(weights)
    raise TowerError(f'{name} has no PyTorch weights: neither model.safetensors nor .bin')


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Turn errors of the hub's client, which have many lines, into one line."""
    from huggingface_hub import errors

    known = ', '.join(PACKAGED)
    try:
        yield
    except errors.GatedRepoError as error:
        raise TowerError(
            f'{name}: its owner asks for consent. Give it on https://huggingface.co/{name}, run '
            '`hf auth login`, and try again'
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise TowerError(
            f'{name} is not known: the hub has no such public model (of a private one, run '
            f'`hf auth login` first), and packages carry {known}'
        ) from error
    except Exception as error:
        if not _is_from_network(error):
            raise
        text = ' '.join(str(error).split())[:200] or type(error).__name__
        raise TowerError(
            f'{name}: the hub cannot be reached ({text}). On a machine that reaches it, run this '
            f'command there and bring the folder here; or take what packages carry: {known}'
        ) from error


def _is_from_network(error: Exception) -> bool:
    """Whether an error is about the connection; the client changed its library at 1.0."""
    module = type(error).__module__.partition('.')[0]
    of_client = module in ('huggingface_hub', 'httpx', 'httpx2', 'requests', 'urllib3')
    return of_client or isinstance(error, (ConnectionError, TimeoutError))
