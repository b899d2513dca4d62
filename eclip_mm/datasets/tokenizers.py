"""Tokenizers with one interface: ``tokenizer(text, max_length) -> list of ids``."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import tokenizers
from mmengine.config import ConfigDict
from mmengine.logging import print_log

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.vocabulary_origin import note_origin, warn_if_outdated
from eclip_mm.datasets.wordpiece import SPECIAL_TOKENS, build_wordpiece, train_wordpiece
from eclip_mm.registry import TASK_UTILS
from eclip_mm.utils.files import write_whole_text

_built: dict[str, Callable] = {}


def build_tokenizer(cfg: dict | Callable) -> Callable:
    """Build a tokenizer, once per process and config.

    Args:
        cfg: ``dict(type='AutoTokenizer', name_or_path=...)``, ``dict(type='CatalogueWordPiece',
            catalogue=...)``, another type of the TASK_UTILS registry, or a tokenizer that is
            ready.

    Returns:
        ``tokenizer(text, max_length=None) -> list[int]``, special tokens included, with
        ``vocab_size`` and ``pad_token_id``.
    """
    if not isinstance(cfg, dict):
        return cfg
    key = json.dumps(ConfigDict(cfg).to_dict(), sort_keys=True, default=str)
    if key not in _built:
        _built[key] = TASK_UTILS.build(cfg)
    return _built[key]


@TASK_UTILS.register_module()
class AutoTokenizer:
    """A tokenizer of ``transformers`` that is stored on this machine.

    Args:
        name_or_path: a folder, or a name that is in the local cache.
        allow_download: let ``transformers`` fetch what is missing.

    Raises:
        FileNotFoundError: the tokenizer is not on this machine.
    """

    def __init__(self, name_or_path: str, allow_download: bool = False) -> None:
        import transformers

        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                name_or_path, local_files_only=not allow_download
            )
        except (OSError, ValueError) as error:
            if Path(name_or_path).is_dir():
                raise FileNotFoundError(
                    f"'{name_or_path}' is a folder without a tokenizer; it needs "
                    'tokenizer.json, or vocab.txt and config.json, as `hf download` or '
                    f'`save_pretrained` leave them. (transformers says: {error})'
                ) from error
            raise FileNotFoundError(
                f"the tokenizer '{name_or_path}' is not on this machine, and nothing is "
                'downloaded unless the config allows it. Fetch it with\n'
                f'    hf download {name_or_path} --local-dir models/{Path(name_or_path).name}\n'
                f"and write name_or_path='models/{Path(name_or_path).name}', or set "
                f'allow_download=True. (transformers says: {error})'
            ) from error
        self.name_or_path = name_or_path

    @property
    def vocab_size(self) -> int:
        """Number of ids, including added tokens."""
        return len(self._tokenizer)

    @property
    def pad_token_id(self) -> int:
        """Id that fills short texts; pass it to ``collate_products`` if it is not 0."""
        return self._tokenizer.pad_token_id

    def __call__(self, text: str, max_length: int | None = None) -> list[int]:
        return self._tokenizer(text, truncation=max_length is not None, max_length=max_length)[
            'input_ids'
        ]

    def get_vocab(self) -> dict[str, int]:
        """Word -> id, including added tokens."""
        return self._tokenizer.get_vocab()

    def to_json(self) -> str | None:
        """The whole tokenizer for :class:`JsonTokenizer`; None for a tokenizer in Python."""
        backend = getattr(self._tokenizer, 'backend_tokenizer', None)
        return backend.to_str() if isinstance(backend, tokenizers.Tokenizer) else None

    def __repr__(self) -> str:
        return f'{type(self).__name__}({str(self.name_or_path)!r})'


@TASK_UTILS.register_module()
class CatalogueWordPiece:
    """WordPiece with a vocabulary trained on the texts of a catalogue.

    The vocabulary file is written once and used from then on. If the catalogue has other texts by
    then, a warning says how many of its words are unknown; delete the file to train again. As in
    BERT, words are lower-cased, and each Chinese character is a word. The id of [PAD] is 0.

    Args:
        catalogue: catalogue to train on: the training split. Not needed if ``vocab_file`` exists.
        vocab_size: largest number of words; a small catalogue gives fewer.
        vocab_file: where the vocabulary is kept. Defaults to ``{stem}.vocab{vocab_size}.txt``
            beside the (first) catalogue.

    Raises:
        ValueError: neither ``catalogue`` nor ``vocab_file`` is given.
        CatalogueError: the catalogue cannot be read.
    """

    def __init__(
        self,
        catalogue: str | Path | Sequence[str] | None = None,
        vocab_size: int = 2000,
        vocab_file: str | Path | None = None,
    ) -> None:
        if catalogue is None and vocab_file is None:
            raise ValueError("CatalogueWordPiece: give 'catalogue', 'vocab_file' or both")
        if vocab_file is None:
            first = Path(catalogue if isinstance(catalogue, (str, Path)) else catalogue[0])
            vocab_file = first.with_name(f'{first.stem}.vocab{vocab_size}.txt')
        self.vocab_file = Path(vocab_file)
        is_new = not self.vocab_file.is_file()
        if is_new:
            if catalogue is None:
                raise CatalogueError(
                    f"{vocab_file}: there is no such vocabulary; give 'catalogue' to train one"
                )
            rows = read_catalogue(catalogue)
            words = train_wordpiece(rows.texts(), vocab_size)
            _write_atomically(self.vocab_file, '\n'.join(words) + '\n')
            note_origin(self.vocab_file, words, catalogue, rows)
            print_log(
                f'Trained a vocabulary of {len(words)} words on {catalogue}: {vocab_file}',
                logger='current',
            )
        words = self.vocab_file.read_text(encoding='utf-8').splitlines()
        if tuple(words[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise CatalogueError(
                f'{self.vocab_file}: must begin with the lines {", ".join(SPECIAL_TOKENS)}; '
                'delete it to train one, or use AutoTokenizer for a vocabulary of another kind'
            )
        if catalogue is not None and not is_new:
            warn_if_outdated(self.vocab_file, words, catalogue)
        self._tokenizer = build_wordpiece(words)
        # for `to_json` only: `__call__` adds these tokens itself, which is faster
        self._tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single='[CLS] $A [SEP]',
            special_tokens=[(word, words.index(word)) for word in ('[CLS]', '[SEP]')],
        )

    @property
    def vocab_size(self) -> int:
        """Number of words; at most the ``vocab_size`` that was asked for."""
        return self._tokenizer.get_vocab_size()

    @property
    def pad_token_id(self) -> int:
        """Always 0."""
        return 0

    def __call__(self, text: str, max_length: int | None = None) -> list[int]:
        words = self._tokenizer.encode(text, add_special_tokens=False).ids
        if max_length is not None:
            words = words[: max_length - 2]
        return [SPECIAL_TOKENS.index('[CLS]'), *words, SPECIAL_TOKENS.index('[SEP]')]

    def get_vocab(self) -> dict[str, int]:
        """Word -> id."""
        return self._tokenizer.get_vocab()

    def to_json(self) -> str:
        """The whole tokenizer for :class:`JsonTokenizer`."""
        return self._tokenizer.to_str()

    def decode(self, ids: Sequence[int]) -> str:
        """Words of ids, without special tokens."""
        words = [self._tokenizer.id_to_token(i) for i in ids if i >= len(SPECIAL_TOKENS)]
        return ' '.join(words).replace(' ##', '')

    def __repr__(self) -> str:
        return f'{type(self).__name__}({str(self.vocab_file)!r})'


class JsonTokenizer:
    """A tokenizer from the JSON text of the ``tokenizers`` library.

    Args:
        text: result of ``to_json`` of another tokenizer of this module.
        pad_token_id: id that fills short texts.
    """

    def __init__(self, text: str, pad_token_id: int) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_length: int | None = None
        self.pad_token_id = pad_token_id

    @property
    def vocab_size(self) -> int:
        """Number of ids, including added tokens."""
        return self._tokenizer.get_vocab_size()

    def __call__(self, text: str, max_length: int | None = None) -> list[int]:
        if max_length != self._max_length:
            self._max_length = max_length
            if max_length is None:
                self._tokenizer.no_truncation()
            else:
                self._tokenizer.enable_truncation(max_length)
        return self._tokenizer.encode(text).ids

    def get_vocab(self) -> dict[str, int]:
        """Word -> id, including added tokens."""
        return self._tokenizer.get_vocab()

    def to_json(self) -> str:
        """The text that it was made from."""
        return self._tokenizer.to_str()


def vocabulary_fingerprint(tokenizer) -> str | None:
    """SHA-256 of all words and their ids; None for a tokenizer without ``get_vocab``."""
    if not hasattr(tokenizer, 'get_vocab'):
        return None
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _write_atomically(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole_text(path, text)  # several ranks may do so at once: all write the same
    except OSError as error:
        raise OSError(
            f"CatalogueWordPiece: cannot write the vocabulary '{path}' "
            f"({error.strerror}); set 'vocab_file' to a path that can be written"
        ) from error
