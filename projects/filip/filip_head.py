"""Token-wise image-text contrast (FILIP, Section 3.1)."""

from dataclasses import dataclass

from torch import Tensor

from eclip_mm.models.heads import PretextHead
from eclip_mm.models.heads.base import accuracy, similarity_logits
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS
from eclip_mm.utils.dist import gather
from projects.filip.token_similarity import gather_padded, token_similarity


@dataclass
class FILIPOutputs(PretrainOutputs):
    """The pooled features of :class:`PretrainOutputs`, and the tokens that they are means of.

    Attributes:
        patch_tokens: (B, N, D) L2-normalised g_I(v_i).
        text_tokens: (B, M, D) L2-normalised g_T(w_j).
        text_mask: (B, M) bool, False at padding.
    """

    patch_tokens: Tensor | None = None
    text_tokens: Tensor | None = None
    text_mask: Tensor | None = None


@MODELS.register_module()
class FILIPHead(PretextHead):
    """The contrast of :class:`ITCHead`, with token-wise similarities as logits.

    Args:
        loss: config of the contrastive loss.
        max_elements: limits the memory, see :func:`token_similarity`.
    """

    def __init__(self, loss: dict | None = None, max_elements: int = 2**27):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))
        self.max_elements = max_elements

    def loss(self, outputs: FILIPOutputs) -> dict[str, Tensor]:
        """Terms ``loss_filip``, ``filip_acc`` and ``pooled_acc``.

        ``pooled_acc`` is the accuracy of the pooled features, which retrieval
        uses and this loss does not train.
        """
        images, texts = outputs.patch_tokens, outputs.text_tokens
        all_texts, all_masks = gather_padded(texts, outputs.text_mask)
        i2t = token_similarity(
            images, all_texts, other_mask=all_masks, max_elements=self.max_elements
        )
        t2i = token_similarity(
            texts, gather(images), mask=outputs.text_mask, max_elements=self.max_elements
        )
        targets, same = outputs.targets, outputs.same_product
        logits = [outputs.logit_scale * similarity for similarity in (i2t, t2i)]  # (B, G)
        pooled = similarity_logits(
            outputs.image_feats.detach(), outputs.all_text_feats.detach(), outputs.logit_scale
        )
        return dict(
            loss_filip=sum(self.criterion(x, targets, same) for x in logits) / 2,
            filip_acc=sum(accuracy(x, targets, same) for x in logits) / 2,
            pooled_acc=accuracy(pooled, targets, same),
        )
