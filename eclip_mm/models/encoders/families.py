"""What each family of ``transformers`` calls the feature of a picture or text: the one table.

A tower's own pooling is part of what it was trained for, and cannot be seen in its weights. The
rules are found by ``model_type``; a config can override each of them.
"""

from dataclasses import dataclass

#: pooling of a picture -> what it is
IMAGE_POOLING = {
    'cls': 'the class token',
    'cls_norm': 'the class token after a norm of its own, which patch tokens get too',
    'attention': 'attention over the patch tokens, by a head of the model',
    'mean': 'the mean of the patch tokens',
    'mean_norm': 'that mean after a norm of its own, which patch tokens get too',
}
#: pooling of a text -> what it is
TEXT_POOLING = {
    'cls': 'the first token',
    'eos': 'the first end-of-text token, or the last token of a text without one',
    'last': 'the last position; padding counts where texts are padded to max_length',
    'mean': 'the mean of all tokens but padding',
}
PADDING = ('longest', 'max_length')


@dataclass(frozen=True)
class ImageRule:
    """How a vision model gives class and patch tokens.

    Attributes:
        pooling: a key of :data:`IMAGE_POOLING`.
        norm: last part of the name of the norm that ``cls_norm`` and
            ``mean_norm`` apply.
        head: name of the pooling head of ``attention``.
        stride: pixels of a token, for a pyramid whose tokens are a sequence
            with a class token.
        is_plain: whether its layers take any set of patches with their
            positions, a ViT's: for ``patch_dropout``.
    """

    pooling: str
    norm: str | None = None
    head: str | None = None
    stride: int | None = None
    is_plain: bool = False


@dataclass(frozen=True)
class TextRule:
    """How a text model takes texts and gives their features.

    Attributes:
        pooling: a key of :data:`TEXT_POOLING`.
        padding: ``longest``, and padding changes no text's feature; or
            ``max_length``, all positions of the model, as it was trained.
        use_mask: whether the model is given the attention mask.
        takes_vectors: whether the model may be given word vectors instead of
            ids: its positions do not follow from the ids.
        max_id_is_eos: a config with ``eos_token_id=2`` is an old one, which
            means the largest id of a text (huggingface/transformers#24773).
        head: a last projection, which is not part of the text's token.
    """

    pooling: str
    padding: str = 'longest'
    use_mask: bool = True
    takes_vectors: bool = False
    max_id_is_eos: bool = False
    head: str | None = None


@dataclass(frozen=True)
class DualRule:
    """Where a dual encoder has its projections.

    Attributes:
        image_proj: name of g_I; None for a family whose pooling head gives
            the joint space.
        text_proj: name of g_T.
    """

    image_proj: str | None
    text_proj: str


_CLIP_VISION = ImageRule('cls_norm', norm='post_layernorm', is_plain=True)
_VIT = ImageRule('cls', is_plain=True)
_BERT = TextRule('cls', takes_vectors=True)

IMAGE_FAMILIES = {
    **dict.fromkeys(('vit', 'deit', 'vit_msn'), _VIT),
    **dict.fromkeys(('dinov2', 'dinov2_with_registers', 'dinov3_vit'), _VIT),
    'dinov3_convnext': ImageRule('cls', stride=32),  # its class token is the mean
    'clip_vision_model': _CLIP_VISION,
    'chinese_clip_vision_model': _CLIP_VISION,
    'metaclip_2_vision_model': _CLIP_VISION,
    'siglip_vision_model': ImageRule('attention', head='head', is_plain=True),
    **dict.fromkeys(('convnext', 'convnextv2'), ImageRule('mean_norm', norm='layernorm')),
    **dict.fromkeys(
        ('swin', 'swinv2', 'efficientnet', 'regnet', 'resnet', 'mobilenet_v2'), ImageRule('mean')
    ),
}
TEXT_FAMILIES = {
    **dict.fromkeys(('bert', 'distilbert', 'electra', 'chinese_clip_text_model'), _BERT),
    **dict.fromkeys(
        ('roberta', 'xlm-roberta', 'camembert', 'albert', 'deberta', 'deberta-v2'), TextRule('cls')
    ),
    'mpnet': TextRule('mean'),
    'clip_text_model': TextRule('eos', max_id_is_eos=True),
    'metaclip_2_text_model': TextRule('eos'),  # whose end of text has the id 2
    # trained on 64 positions without a mask: padding is part of the text
    'siglip_text_model': TextRule('last', padding='max_length', use_mask=False, head='head'),
}
DUAL_FAMILIES = {
    **dict.fromkeys(
        ('clip', 'chinese_clip', 'metaclip_2'), DualRule('visual_projection', 'text_projection')
    ),
    # fixed-size SigLIP 2 says 'siglip' too
    'siglip': DualRule(None, 'text_model.head'),
}
REFUSED = dict.fromkeys(
    ('siglip2', 'siglip2_vision_model', 'siglip2_text_model'),
    'a NaFlex model takes a list of patches with their places instead of a picture: take the '
    'fixed-size model of the same family, such as siglip2-base-patch16-224',
)


def refuse(model_type: str) -> None:
    """Check that a family can be used here.

    Raises:
        ValueError: it cannot; the message gives the reason.
    """
    if model_type in REFUSED:
        raise ValueError(f'model_type {model_type!r} is not supported: {REFUSED[model_type]}')


def check_choice(option: str, value: str, choices) -> None:
    """Check that the value of an option is one of its choices.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        known = ', '.join(map(repr, choices))
        raise ValueError(f'{option}={value!r} is not known; it is one of {known}')
