"""Text models of ``transformers``."""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.encoders.building import TransformersEncoder, build_transformers_model
from eclip_mm.models.encoders.families import (
    PADDING,
    TEXT_FAMILIES,
    TEXT_POOLING,
    TextRule,
    check_choice,
)
from eclip_mm.models.encoders.length_groups import encode_by_length
from eclip_mm.models.encoders.pooling import pool_text, sees_last_word
from eclip_mm.models.encoders.text_files import read_pooling, use_tokenizers_pad_id
from eclip_mm.models.encoders.text_memory import TextMemory
from eclip_mm.registry import MODELS


@MODELS.register_module()
class TransformersTextEncoder(TransformersEncoder):
    """Text model of ``transformers``: w_cls of Section 3.1.

    Args:
        model_type, config, pretrained, allow_download, gradient_checkpointing:
            as :class:`TransformersImageEncoder`.
        length_groups: :meth:`forward` sorts the texts of a batch by length and
            encodes as many groups of them, each cut to its longest text; 1 for
            the batch as it is padded. None for what takes least time on the
            device, see :func:`plan_groups`, and 1 where padding counts.
        pooling: what w_cls is, a key of :data:`TEXT_POOLING`; None for what
            ``pretrained`` says (sentence-transformers), else the family's own.
        padding: ``longest`` takes the batch as it is padded; ``max_length``
            fills texts on the right up to all positions of the model, with
            its ``pad_token_id``. None for the family's own.
        use_mask: whether the model is given the mask; None for the family's
            own.
        model: a tower that is built already; ``pretrained`` is then where its
            other files are.
        remember: number of texts whose features are kept, for a tower that is
            frozen as a whole, see :class:`TextMemory`; 0 encodes every text.

    Attributes:
        embed_dims: width of the class token.
        vocab_size: token ids must be below it.

    Raises:
        ValueError: a family without a rule and no ``pooling``; a pooling that
            does not see the whole text, such as the first token of a causal
            model; options that exclude one another.
    """

    def __init__(
        self,
        model_type: str | None = 'bert',
        config: dict | None = None,
        pretrained: str | None = None,
        allow_download: bool = False,
        gradient_checkpointing: bool = False,
        length_groups: int | None = None,
        pooling: str | None = None,
        padding: str | None = None,
        use_mask: bool | None = None,
        model: nn.Module | None = None,
        remember: int = 0,
    ):
        if model is None:
            model = build_transformers_model(
                model_type, config, pretrained, allow_download, tower='text'
            )
        super().__init__(model, gradient_checkpointing)
        self.memory = TextMemory(remember) if remember else None
        cfg = self.model.config
        rule = TEXT_FAMILIES.get(cfg.model_type, TextRule(None))
        given = pooling is not None
        if pooling is None and pretrained is not None:
            pooling = read_pooling(pretrained, allow_download)
        self.pooling = pooling or rule.pooling
        self.padding = padding or rule.padding
        self.use_mask = rule.use_mask if use_mask is None else use_mask
        check_choice('text_encoder.padding', self.padding, PADDING)
        if not self.use_mask and self.padding == 'longest':
            raise ValueError(
                'text_encoder: without a mask the feature of a text depends on how far it is '
                "padded; set padding='max_length' or use_mask=True"
            )
        if self.padding == 'max_length' and pretrained is not None:
            use_tokenizers_pad_id(cfg, pretrained, allow_download)
        self.length_groups = self._check_length_groups(length_groups)
        self.embed_dims = cfg.hidden_size
        self.vocab_size = cfg.vocab_size
        self.max_length = getattr(cfg, 'max_position_embeddings', None)
        self._check_padding()
        head = self.find_part(rule.head)
        if head is not None:  # its parameters would get no gradient
            self.model.set_submodule(head, nn.Identity())
        eos_ids = getattr(cfg, 'eos_token_id', None)
        eos_ids = [eos_ids] if isinstance(eos_ids, int) else list(eos_ids or ())
        others = [getattr(cfg, f'{name}_token_id', None) for name in ('pad', 'bos')]
        self._special_ids = [*others, *eos_ids]
        self._eos_ids = None if rule.max_id_is_eos and eos_ids == [2] else eos_ids
        self._takes_vectors = rule.takes_vectors and self.pooling != 'eos'
        # of other families, the model may be causal, and would lose what makes it so
        self._takes_pairs = rule.pooling in ('cls', 'mean') and takes_mask_of_pairs(self.model)
        self._check_pooling(given or rule.pooling is None)

    def _check_length_groups(self, length_groups: int | None) -> int | None:
        if length_groups is None:
            return None if self.padding == 'longest' else 1
        if length_groups < 1:
            raise ValueError(f'length_groups must be at least 1, got {length_groups}')
        if length_groups > 1 and self.padding == 'max_length':
            raise ValueError(
                f'text_encoder.length_groups={length_groups} cuts padding, which is part of a '
                "text for a model with padding='max_length'; set it to 1 or leave it out"
            )
        return length_groups

    def _check_padding(self) -> None:
        if self.padding == 'longest':
            return
        needed = dict(
            pad_token_id=getattr(self.model.config, 'pad_token_id', None),
            max_position_embeddings=self.max_length,
        )
        missing = [field for field, value in needed.items() if value is None]
        if missing:
            raise ValueError(
                "text_encoder.padding='max_length' fills texts up to all positions, but the "
                f'config of {self.model.config.model_type!r} has no {" and no ".join(missing)}: '
                f'set {", ".join(f"text_encoder.config.{field}" for field in missing)}, or '
                "padding='longest'"
            )

    def _check_pooling(self, uncertain: bool) -> None:
        name = f'text model {self.model.config.model_type!r}'
        choices = ', '.join(f'pooling={choice!r}' for choice in TEXT_POOLING)
        if self.pooling is None:
            self.pooling = 'cls'
            blind = '' if self._sees_text() else ' (its first token does not see the others)'
            raise ValueError(
                f'{name}{blind} is in no family of encoders/families.py: set what its feature is '
                f'in text_encoder, {choices}'
            )
        check_choice('text_encoder.pooling', self.pooling, TEXT_POOLING)
        causal = getattr(self.model.config, 'is_decoder', False)
        if (uncertain or causal) and not self._sees_text():
            raise ValueError(
                f'{name} with pooling={self.pooling!r} gives texts that differ in their last word '
                f'the same feature; set another one in text_encoder: {choices}'
            )

    def _sees_text(self) -> bool:
        avoid = [i for i in self._special_ids if i is not None and 0 <= i < self.vocab_size]
        return sees_last_word(self, avoid)

    def rules(self) -> dict:
        """What a config needs beside the architecture for the same features."""
        return dict(pooling=self.pooling, padding=self.padding, use_mask=self.use_mask)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """
        Args:
            input_ids: (B, M) int64, special tokens included.
            attention_mask: (B, M), 1 for tokens and 0 for padding.

        Returns:
            (B, C) class token w_cls.

        Raises:
            ValueError: texts are longer than a model with
                ``padding='max_length'`` takes.
        """
        if self.memory is not None and self.num_frozen == len(self.layer_groups()):
            return self.memory(self.encode, input_ids, attention_mask)
        return self.encode(input_ids, attention_mask)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """:meth:`forward` without a memory."""
        if self.padding == 'max_length':
            input_ids, attention_mask = self._fill(input_ids, attention_mask)
        words = self.model.get_input_embeddings() if self._takes_vectors else None
        return encode_by_length(
            lambda tokens, mask: pool_text(
                self.encode_tokens(tokens, mask), mask, self.pooling, tokens, self._eos_ids
            ),
            input_ids,
            attention_mask,
            self.length_groups,
            words,
        )

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if self.memory is not None:
            self.memory.forget()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _fill(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Texts of all positions of the model, of which each counts as text."""
        missing = self.max_length - input_ids.shape[1]
        if missing < 0:
            raise ValueError(
                f'texts of {input_ids.shape[1]} tokens are longer than the {self.max_length} '
                'positions of the text encoder; set max_length of TokenizeText'
            )
        pad_id = self.model.config.pad_token_id
        input_ids = input_ids.masked_fill(attention_mask == 0, pad_id)
        input_ids = F.pad(input_ids, (0, missing), value=pad_id)
        return input_ids, torch.ones_like(input_ids)

    def encode_tokens(self, tokens: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, M, C) every token; what stands at padding means nothing.

        Args:
            tokens: (B, M) ids, or (B, M, C) their word vectors.
            attention_mask: (B, M); None for texts without padding.
        """
        name = 'inputs_embeds' if tokens.is_floating_point() else 'input_ids'
        options = {}
        if self.use_mask:
            on_host = attention_mask is None or attention_mask.device.type == 'cpu'
            if self._takes_pairs and not on_host:
                attention_mask = mask_of_pairs(attention_mask)
            options['attention_mask'] = attention_mask
        return self.model(**{name: tokens}, **options).last_hidden_state


def takes_mask_of_pairs(model: nn.Module) -> bool:
    """Whether a model of ``transformers`` takes the mask that it would make of a mask of tokens.

    ``create_bidirectional_mask`` returns such a mask as it is.
    """
    cfg = model.config
    return (
        hasattr(sys.modules[type(model).__module__], 'create_bidirectional_mask')
        and not getattr(cfg, 'is_decoder', False)
        and cfg._attn_implementation == 'sdpa'
    )


def mask_of_pairs(attention_mask: Tensor) -> Tensor:
    """(B, 1, M, M) bool, which token sees which, of a mask (B, M).

    ``transformers`` makes the same, but first reads whether there is any padding, and the host
    waits until the device can tell.
    """
    num_tokens = attention_mask.shape[1]
    return attention_mask.bool()[:, None, None].expand(-1, 1, num_tokens, -1)
