"""Whether texts and pictures fit the encoders."""

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from eclip_mm.checkpoint.metadata import find_tokenizers
from eclip_mm.datasets.tokenizers import build_tokenizer

#: names of embeddings that have a row for each place in a text
_POSITIONS = ('position_embeddings', 'position_embedding', 'embed_positions', 'wpe')


def check_texts(encoder: nn.Module, parts: Mapping) -> None:
    """Check that the text encoder has a row for every token and every place in a text.

    Args:
        encoder: a ``TransformersTextEncoder``.
        parts: key of the config -> part of it that may have tokenizers.

    Raises:
        ValueError: a tokenizer has more words than the encoder, makes texts that are longer
            than it takes, or lacks the token that is the feature of a text.
    """
    num_rows, num_places = getattr(encoder, 'vocab_size', None), count_places(encoder)
    for key, part in parts.items():
        for found in find_tokenizers(part):
            tokenizer, where = build_tokenizer(found['tokenizer']), f'{found["type"]} of {key}'
            num_words = _count_words(tokenizer)
            if num_rows and num_words and num_words > num_rows:
                raise ValueError(
                    f'{where}: {tokenizer!r} has {num_words} words, but the embedding of the text '
                    f'encoder has {num_rows}: set model.text_encoder.config.vocab_size='
                    f'{num_words}, or take a tokenizer of at most {num_rows} words (with '
                    'pretrained weights: their own, tokenizer=None)'
                )
            length = found.get('max_length', 55)
            if num_places and length > num_places:
                raise ValueError(
                    f'{where}: max_length={length} tokens, but the text encoder has places for '
                    f'{num_places}: set max_length={num_places}, or in an encoder without '
                    'pretrained weights raise model.text_encoder.config.max_position_embeddings'
                )
            _check_ends(encoder, tokenizer, where)


def count_places(encoder: nn.Module) -> int | None:
    """Number of tokens that a text may have; None for a model without a table of positions.

    RoBERTa and its kin leave the rows up to that of the padding token out.
    """
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and name.split('.')[-1] in _POSITIONS:
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - max(unused, getattr(module, 'offset', 0))
    return None


def _count_words(tokenizer) -> int | None:
    """One more than the largest id; of a tokenizer with gaps that is more than its words."""
    if hasattr(tokenizer, 'get_vocab'):
        return max(tokenizer.get_vocab().values()) + 1
    return getattr(tokenizer, 'vocab_size', None)


def _check_ends(encoder: nn.Module, tokenizer, where: str) -> None:
    """Check that the token that the encoder takes for the text's feature is where it looks.

    A tokenizer of a causal model (GPT-2) puts nothing before a text, and perhaps nothing behind.
    """
    pooling, eos_ids = getattr(encoder, 'pooling', None), getattr(encoder, '_eos_ids', None)
    texts = [tokenizer(text, max_length=16) for text in ('a red mug', 'Teller, 7 cm blau')]
    last = texts[0][-1]
    has_end = all(last == ids[-1] and last not in ids[:-1] for ids in texts)
    if pooling == 'cls' and texts[0][0] != texts[1][0]:
        raise ValueError(
            f"{where}: {tokenizer!r} begins a text with its first word, which the text encoder's "
            "pooling='cls' would take for the feature of the text. Set model.text_encoder.pooling="
            "'mean' (of a causal model 'last'), or take a tokenizer with a token before each text"
        )
    if pooling != 'eos':
        return
    end = _count_words(tokenizer) - 1 if eos_ids is None else eos_ids
    if has_end and last not in ([end] if eos_ids is None else end):
        raise ValueError(
            f'{where}: {tokenizer!r} ends texts with id {last}, but the text encoder takes the '
            f"feature at id {end} (pooling='eos'): set "
            f'model.text_encoder.config.eos_token_id={last}'
        )
    words = set(range(_count_words(tokenizer) or 0)) - set(_special_ids(tokenizer))
    if not has_end and (eos_ids is None or words & set(eos_ids)):
        raise ValueError(
            f'{where}: {tokenizer!r} puts no end behind a text, and id {end}, at which the text '
            "encoder would take the feature (pooling='eos'), is one of its words: set "
            "model.text_encoder.pooling='last'"
        )


def _special_ids(tokenizer) -> list[int]:
    return getattr(getattr(tokenizer, '_tokenizer', None), 'all_special_ids', None) or []


def check_pictures(encoder: nn.Module, parts: Mapping) -> None:
    """Check that the image encoder takes pictures of the pipelines' sizes, by trying.

    Args:
        encoder: image encoder, (B, 3, H, W) -> tokens.
        parts: key of the config -> part of it that may have pipelines.

    Raises:
        ValueError: it does not.
    """
    parameter = next(encoder.parameters())
    sizes = {}
    for key, part in parts.items():
        for kind, sides in picture_sizes(part):
            sizes.setdefault(sides, f'{kind} of {key}')
    for sides, where in sizes.items():
        training = encoder.training
        try:
            with torch.no_grad():
                encoder.eval()(torch.zeros(1, 3, *sides).to(parameter))
        except (RuntimeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            config = encoder.model.config
            raise ValueError(
                f'{where} gives pictures of {sides[0]} x {sides[1]} pixels, but the image encoder '
                f'({config.model_type}, image_size={getattr(config, "image_size", None)}) does '
                f'not take them: {error}'
            ) from error
        finally:
            encoder.train(training)


def picture_sizes(part) -> Iterator[tuple[str, tuple[int, int]]]:
    """Type and (h, w) of the last transform with a ``size`` of every pipeline in a config."""
    if isinstance(part, dict):
        last = None
        for step in part.get('pipeline') or ():
            if isinstance(step, dict) and isinstance(step.get('size'), int | list | tuple):
                last = step
        if last is not None:
            size = last['size']
            sides = (size, size) if isinstance(size, int) else tuple(size)
            yield last['type'], sides
        part = part.values()
    elif not isinstance(part, list | tuple):
        return
    for item in part:
        yield from picture_sizes(item)
