"""Tokenisation of a product's text."""

from eclip_mm.datasets.tokenizers import build_tokenizer
from eclip_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TokenizeText:
    """Turn ``text`` into ``input_ids``, a list of ints with the special tokens.

    Args:
        tokenizer: config for
            :func:`~eclip_mm.datasets.tokenizers.build_tokenizer`, or a built
            tokenizer.
        max_length: largest number of tokens, including [CLS] and [SEP].
            Defaults to 55, as in the paper.
    """

    def __init__(self, tokenizer, max_length: int = 55) -> None:
        if max_length < 3:
            raise ValueError(
                f"TokenizeText: 'max_length' is {max_length}; give at least 3, since two "
                'are the special tokens'
            )
        self.tokenizer = build_tokenizer(tokenizer)
        self.max_length = max_length

    def __call__(self, results: dict) -> dict:
        results['input_ids'] = self.tokenizer(results['text'], max_length=self.max_length)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.tokenizer}, max_length={self.max_length})'
