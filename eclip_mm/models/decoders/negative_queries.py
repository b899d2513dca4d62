"""Where the T-1 negative prompts come from once the model is trained (Section 3.4)."""

import torch
from torch import Tensor, nn

from eclip_mm.registry import MODELS
from eclip_mm.utils.seeding import derive_seed


@MODELS.register_module()
class GaussianNegatives(nn.Module):
    """Negative prompts ~ N(0, I), reproducible per product.

    Args:
        seed: together with the product_id it fixes the draw, so that a feature
            depends neither on the batch nor on the order of extraction.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = seed

    def forward(self, product_ids: list[str], num_negatives: int, embed_dims: int) -> Tensor:
        """
        Returns:
            (B, num_negatives, embed_dims) float32 on the CPU.
        """
        rows = []
        for product_id in product_ids:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, product_id))
            rows.append(torch.randn(num_negatives, embed_dims, generator=generator))
        return torch.stack(rows)
