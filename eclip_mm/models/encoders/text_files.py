"""What the files of a pretrained text model say beside its weights."""

import json

from mmengine.logging import print_log

from eclip_mm.models.encoders.preprocessing import find_file

#: switches of sentence-transformers -> key of TEXT_POOLING
SENTENCE_POOLING = dict(cls_token='cls', mean_tokens='mean', lasttoken='last')


def read_pooling(pretrained: str, allow_download: bool = False) -> str | None:
    """Read the pooling of a model of sentence-transformers (MiniLM, mpnet, e5).

    Their ``model_type`` (``bert``, ``mpnet``, ...) does not say which pooling they have.

    Returns:
        A key of ``TEXT_POOLING``; None for any other model.

    Raises:
        ValueError: the model has a pooling that does not exist here.
    """
    path = find_file(pretrained, '1_Pooling/config.json', allow_download)
    if path is None:
        return None
    fields = json.loads(path.read_text(encoding='utf-8'))
    prefix = 'pooling_mode_'
    modes = [
        key.removeprefix(prefix) for key, on in fields.items() if key.startswith(prefix) and on
    ]
    if len(modes) != 1 or modes[0] not in SENTENCE_POOLING:
        raise ValueError(
            f'{path} asks for pooling by {modes}; of these one is possible here: '
            f'{", ".join(SENTENCE_POOLING)}. Set text_encoder.pooling to what comes nearest'
        )
    return SENTENCE_POOLING[modes[0]]


def use_tokenizers_pad_id(config, pretrained: str, allow_download: bool = False) -> None:
    """Set ``pad_token_id`` of a model's config to the id that its tokenizer has, in place.

    A config may leave ``pad_token_id`` to its class, whose default is another
    tokenizer's: SigLIP 2 pads with 0, ``SiglipTextConfig`` says 1.

    Args:
        config: of the text model.
        pretrained, allow_download: where its tokenizer is.
    """
    path = find_file(pretrained, 'tokenizer_config.json', allow_download)
    fields = json.loads(path.read_text(encoding='utf-8')) if path is not None else {}
    token = fields.get('pad_token')
    token = token.get('content') if isinstance(token, dict) else token
    for number, added in fields.get('added_tokens_decoder', {}).items():
        if token is not None and added.get('content') == token:
            pad_id = int(number)
            break
    else:
        print_log(
            f'text_encoder: no tokenizer_config.json of {pretrained} gives the id of the padding '
            f'token; the id of the model config is used: {config.pad_token_id}',
            logger='current',
        )
        return
    if pad_id != config.pad_token_id:
        print_log(
            f'text_encoder: the id of the padding token is {pad_id}, as in the tokenizer of '
            f'{pretrained}; the model config says {config.pad_token_id}',
            logger='current',
        )
        config.pad_token_id = pad_id
