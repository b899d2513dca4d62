"""DeCLIP: supervision within and between modalities for CLIP (Li et al., ICLR 2022)."""

from mmengine.dist import get_dist_info
from torch import Tensor

from eclip_mm.models.eclip import ECLIP
from eclip_mm.models.product_ids import hash_product_ids
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample
from projects.declip.declip_head import DeCLIPHead, DeCLIPOutputs
from projects.declip.text_views import change_texts
from projects.fusion.draws import StepDraws


@MODELS.register_module()
class DeCLIP(ECLIP):
    """The towers of :class:`ECLIP` with DeCLIP's objective; ``predict`` is CLIP's.

    Args:
        max_words: positions for which random numbers are drawn: at least the
            tokens of the longest text.
        first_word_id: ids below it are special tokens, not words.
        options: of :class:`ECLIP`; ``pretext_heads`` is one :class:`DeCLIPHead`.

    Raises:
        ValueError: another head, or masked words with a text tower that is
            frozen.
    """

    def __init__(self, max_words: int = 64, first_word_id: int = 999, **options):
        super().__init__(**options)
        heads = list(self.heads.values())
        if len(heads) != 1 or not isinstance(heads[0], DeCLIPHead):
            raise ValueError(
                'DeCLIP has one pretext head, a DeCLIPHead: set the others to None, not '
                f'{sorted(self.heads)}'
            )
        if self.head.words is not None:
            self._check_words()
        self.max_words, self.first_word_id = max_words, first_word_id
        self.prompts = StepDraws()  # takes the seed of the run

    def _check_words(self) -> None:
        """Compare the masked words with the text tower."""
        words, tower = self.head.words, self.network.text_encoder
        found = dict(embed_dims=words.words[0].in_features, vocab_size=words.vocab_size)
        wanted = dict(embed_dims=tower.embed_dims, vocab_size=tower.model.config.vocab_size)
        for key, value in found.items():
            if value != wanted[key]:
                raise ValueError(
                    f'pretext_heads.declip.words has {key}={value}, the text tower '
                    f'{wanted[key]}: set them alike'
                )
        frozen = not any(p.requires_grad for p in tower.parameters())
        if frozen:
            raise ValueError(
                'DeCLIPHead.words predicts hidden words from the states of the text tower, and '
                'freeze.text freezes all of it, so that nothing of the model would learn from '
                'them: set pretext_heads.declip.words=None'
            )

    @property
    def head(self) -> DeCLIPHead:
        return next(iter(self.heads.values()))

    def extract(self, inputs: dict, data_samples: list[ProductDataSample]) -> DeCLIPOutputs:
        """Features of both views of pictures and texts, and states of texts with hidden words."""
        images, ids, mask = inputs['images'], inputs['input_ids'], inputs['attention_mask']
        if ids.shape[1] > self.max_words:
            raise ValueError(
                f'a text has {ids.shape[1]} tokens and DeCLIP draws for model.max_words='
                f'{self.max_words}: set it to the max_length of TokenizeText'
            )
        size = (self.num_steps, len(ids), get_dist_info()[1], self.max_words, 3)
        draws = self.prompts('text view', *size)
        changed = change_texts(ids, mask, draws, self.first_word_id)
        encode_image = self.network.encode_image_feats
        states = targets = None
        if self.head.words is not None:
            hidden, targets = self.head.words.hide_words(ids, mask, self.prompts('words', *size))
            states = self.network.text_encoder.encode_tokens(hidden, mask)
        return DeCLIPOutputs(
            image_feats=self.in_chunks(encode_image, images[:, 0]),
            text_feats=self._encode_text(ids, mask),
            other_image_feats=self.in_chunks(encode_image, images[:, 1]),
            other_text_feats=self._encode_text(*changed),
            id_hash=hash_product_ids([s.product_id for s in data_samples]).to(images.device),
            logit_scale=self.logit_scale.exp(),
            word_states=states,
            word_targets=targets,
        )

    def _encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.in_chunks(self.network.encode_text, input_ids, attention_mask)
