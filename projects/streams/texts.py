"""Texts of other products of the global batch."""

import torch
import torch.nn.functional as F
from mmengine.dist import get_dist_info
from torch import Tensor

from eclip_mm.utils.dist import gather


def take_texts(
    input_ids: Tensor, attention_mask: Tensor, partner: Tensor
) -> tuple[Tensor, Tensor]:
    """The texts of some rows of the global batch, which each rank has padded to its longest.

    Args:
        input_ids, attention_mask: (B, M) of this rank.
        partner: (B,) int64 rows of the global batch.

    Returns:
        (B, M') token ids and mask, where M' is the longest M of any rank.
    """
    if get_dist_info()[1] > 1:
        length = torch.tensor([input_ids.shape[1]], device=input_ids.device)
        missing = int(gather(length).max() - length)
        input_ids = gather(F.pad(input_ids, (0, missing)))
        attention_mask = gather(F.pad(attention_mask, (0, missing)))
    partner = partner.to(input_ids.device)
    return input_ids[partner], attention_mask[partner]
