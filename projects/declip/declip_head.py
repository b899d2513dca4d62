"""The objective of DeCLIP: four terms over two views of each picture and text."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from eclip_mm.models.heads import PretextHead
from eclip_mm.models.heads.base import contrast, similarity_logits
from eclip_mm.models.losses.info_nce import info_nce
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS
from eclip_mm.utils.dist import gather
from projects.declip.neighbour_bank import NeighbourBank
from projects.declip.simsiam import SimSiam
from projects.fusion.masked_modelling import MaskedModelling


@dataclass
class DeCLIPOutputs(PretrainOutputs):
    """The features of the first views in :class:`PretrainOutputs`, and those of the second.

    Attributes:
        other_image_feats, other_text_feats: (B, D) L2-normalised.
        word_states: (B, M, H) of the text tower with some words hidden; None
            without masked words.
        word_targets: (B, M), see :class:`MaskedModelling`.
    """

    other_image_feats: Tensor | None = None
    other_text_feats: Tensor | None = None
    word_states: Tensor | None = None
    word_targets: Tensor | None = None


@MODELS.register_module()
class DeCLIPHead(PretextHead):
    """Weighted sum of the four terms.

    Args:
        embed_dims: joint width D.
        bank_size: number of texts among which neighbours are looked up.
        weights: of the contrast, the neighbours, SimSiam and the masked words.
        simsiam: widths of :class:`SimSiam`.
        words: config of :class:`MaskedModelling` for words; None without.
    """

    def __init__(
        self,
        embed_dims: int = 512,
        bank_size: int = 65536,
        weights: dict | None = None,
        simsiam: dict | None = None,
        words: dict | None = None,
    ):
        super().__init__()
        self.weights = dict(contrast=0.4, neighbours=0.2, simsiam=0.2, words=0.2)
        unknown = set(weights or {}) - set(self.weights)
        if unknown:
            raise ValueError(f'DeCLIPHead.weights has {sorted(unknown)}, not of {[*self.weights]}')
        self.weights.update(weights or {})
        self.criterion = MODELS.build(dict(type='InfoNCELoss'))
        self.bank = NeighbourBank(bank_size, embed_dims)
        self.simsiam = SimSiam(embed_dims, **(simsiam or {}))
        self.words = None if words is None else MaskedModelling(**words)

    def loss(self, outputs: DeCLIPOutputs) -> dict[str, Tensor]:
        """Terms ``loss_contrast``, ``loss_neighbours``, ``loss_simsiam``, ``loss_words``."""
        images = (outputs.image_feats, outputs.other_image_feats)
        texts = (outputs.text_feats, outputs.other_text_feats)
        total = right = 0.0
        for image in images:
            for text in texts:
                i2t, i2t_acc = contrast(self.criterion, outputs, image, gather(text))
                t2i, t2i_acc = contrast(self.criterion, outputs, text, gather(image))
                total, right = total + (i2t + t2i) / 8, right + (i2t_acc + t2i_acc) / 8
        terms = dict(
            loss_contrast=total,
            loss_neighbours=self.neighbour_loss(outputs, images, texts),
            loss_simsiam=self.simsiam(*images),
        )
        if self.words is not None:
            logits = self.words.word_logits(outputs.word_states, outputs.word_targets)
            terms['loss_words'] = self.words.word_loss(logits, outputs.word_targets)
        weighted = {name: self.weights[name[5:]] * value for name, value in terms.items()}
        return dict(weighted, itc_acc=right)

    def neighbour_loss(
        self, outputs: DeCLIPOutputs, images: tuple[Tensor, Tensor], texts: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Contrast of pictures with the neighbours of the texts, in this direction alone.

        A neighbour of another row's text that is a text of the row's own product is no negative.
        """
        total = 0.0
        for text in texts:
            found, found_ids = self.bank.nearest(text, outputs.id_hash)
            found, found_ids = gather(found), gather(found_ids)
            same = (outputs.id_hash[:, None] == found_ids) | outputs.same_product
            for image in images:
                logits = similarity_logits(image, found, outputs.logit_scale)
                total = total + info_nce(logits, outputs.targets, same) / 4
        return total

    def remember(self, outputs: DeCLIPOutputs) -> Callable[[], None]:
        return partial(self.bank.push, outputs.all_text_feats.detach(), outputs.all_id_hash)

    def forget(self) -> None:
        self.bank.clear()
