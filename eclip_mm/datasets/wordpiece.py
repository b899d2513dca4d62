"""WordPiece vocabularies, trained on texts."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence

import tokenizers

SPECIAL_TOKENS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')


def train_wordpiece(texts: Iterable[str], vocab_size: int) -> list[str]:
    """Train a WordPiece vocabulary; the same texts give the same list.

    Args:
        texts: texts to train on.
        vocab_size: largest number of words, including special tokens and characters.

    Returns:
        The vocabulary in the order of the ids.
    """
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')  # workers are forked later
    counts = count_words(texts)
    characters = sorted({c for word in counts for c in word})
    inner = sorted({f'##{c}' for word in counts for c in word[1:]})
    # The library numbers characters in the order of a hash map, which differs from run to run and
    # breaks ties between merges. Characters that are named beforehand, as special tokens, always
    # get the same numbers.
    fixed = [*SPECIAL_TOKENS, *characters, *inner]
    if len(fixed) > vocab_size:
        raise ValueError(
            f'CatalogueWordPiece: vocab_size={vocab_size} is less than the {len(fixed)} '
            f'characters and special tokens of these texts; give at least {len(fixed)}'
        )
    tokenizer = build_wordpiece(SPECIAL_TOKENS)
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=fixed, show_progress=False
    )
    repeated = (' '.join([word] * count) for word, count in sorted(counts.items()))
    tokenizer.train_from_iterator(repeated, trainer)
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words of texts as WordPiece sees them: lower-cased, and split at punctuation."""
    tokenizer, counts = build_wordpiece(SPECIAL_TOKENS), Counter()
    for text in texts:
        normalized = tokenizer.normalizer.normalize_str(text)
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized))
    return counts


def build_wordpiece(words: Sequence[str]) -> tokenizers.Tokenizer:
    """Build the tokenizer of a vocabulary, without special tokens around a text."""
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: i for i, word in enumerate(words)}, unk_token='[UNK]')
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer
