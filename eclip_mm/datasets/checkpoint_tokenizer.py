"""The tokenizer in a checkpoint: storing it, reading it, comparing it with that of a config."""

from eclip_mm.checkpoint.metadata import find_tokenizers, read_meta
from eclip_mm.datasets.tokenizers import JsonTokenizer, build_tokenizer, vocabulary_fingerprint
from eclip_mm.registry import TASK_UTILS


def tokenizer_state(cfg: dict) -> dict | None:
    """The tokenizer of a training config as plain data.

    Returns:
        ``fingerprint`` of the vocabulary, ``pad_token_id``, and ``json``, the whole tokenizer;
        ``json`` is None for a tokenizer in Python. None for a config without a tokenizer, with
        several, or with one that does not reveal its vocabulary.
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


def check_tokenizer(cfg, meta: dict) -> None:
    """Compare the tokenizers of a config with that of a checkpoint.

    Raises:
        ValueError: the vocabularies differ: every token id would mean another word.
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


@TASK_UTILS.register_module()
class CheckpointTokenizer(JsonTokenizer):
    """The tokenizer that a checkpoint was trained with; its catalogue is not needed.

    Args:
        checkpoint: path of the checkpoint.

    Raises:
        ValueError: the checkpoint holds no tokenizer.
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
