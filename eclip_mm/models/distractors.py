"""Other pictures of the batch as background, for catalogues whose photos show one product each."""

import torch
from torch import Tensor


def with_distractors(patch_tokens: Tensor, count: int) -> Tensor:
    """Append to each picture's own tokens those of the next pictures of the batch.

    The decoder then sees all of them as one photo. In a catalogue whose photos show one product
    each, every token identifies the product, and the decoder would not learn where to look. The
    pictures come from the batch of this rank, so the losses depend on the number of ranks.

    Args:
        patch_tokens: (B, N, D).
        count: number of other pictures for each.

    Returns:
        (B, (1 + count) N, D).

    Raises:
        ValueError: the batch has fewer than ``count`` other pictures.
    """
    if count >= len(patch_tokens):
        raise ValueError(
            f'num_distractors={count} needs more pictures than the {len(patch_tokens)} of the '
            'batch; lower it or raise train_dataloader.batch_size'
        )
    return torch.cat([patch_tokens.roll(-k, dims=0) for k in range(count + 1)], dim=1)
