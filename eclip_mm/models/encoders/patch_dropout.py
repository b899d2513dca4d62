"""Leaving out random patches of a ViT in training, for speed (FLIP)."""

import torch
from torch import Tensor, nn

#: modules whose outputs have one row per patch, and perhaps others before them
PARTS = ('embeddings', 'rope_embeddings')


class PatchDropout(nn.Module):
    """Leaves out random patches of each picture between the embeddings and the layers.

    Class token and registers are kept. Patches that are left out cost nothing in the layers, and
    no token of them comes out (Li et al., Scaling Language-Image Pre-training via Masking, 2023).

    The draws come from torch's global generator, which ``StepSeedHook`` seeds for each step, and
    are made outside of the model, which may be compiled or recomputed.

    Args:
        rate: fraction of the patches that is left out, in [0, 1); at least
            one patch is kept.
        model: a plain ViT; hooks of this module are added to it.

    Raises:
        ValueError: ``rate`` lies outside.
    """

    def __init__(self, rate: float, model: nn.Module):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'image_encoder.patch_dropout has to lie in [0, 1), got {rate!r}')
        self.rate = rate
        self.num_patches = 0
        self.kept: Tensor | None = None
        for name, part in model.named_modules() if rate else ():
            if name.split('.')[-1] in PARTS:
                part.register_forward_hook(self.leave_out)

    def draw(self, images: Tensor, num_patches: int) -> int:
        """Choose the patches of the next forward pass of the model.

        Args:
            images: (B, 3, H, W).
            num_patches: N of each.

        Returns:
            How many patches are kept: N in evaluation.
        """
        self.num_patches, self.kept = num_patches, None
        num_kept = max(1, round(num_patches * (1 - self.rate)))
        if self.training and num_kept < num_patches:
            order = torch.rand(len(images), num_patches, device=images.device).argsort(dim=1)
            self.kept = order[:, :num_kept].sort(dim=1).values
            return num_kept
        return num_patches

    def leave_out(self, part: nn.Module, _, output):
        """Hook of :data:`PARTS`: rows of the patches that are kept, and all before the patches.

        Args:
            part: unused.
            output: tokens (B, P + N, C), or cosines and sines (N, C) of positions.
        """
        if self.kept is None:
            return output
        if isinstance(output, tuple):  # one row for all heads
            return tuple(table[self.kept][:, None] for table in output)
        num_prefix = output.shape[1] - self.num_patches
        places = self.kept[..., None].expand(-1, -1, output.shape[2]) + num_prefix
        return torch.cat([output[:, :num_prefix], output.gather(1, places)], dim=1)

    def done(self) -> None:
        """Forget the choice: the model may be called by others."""
        self.kept = None
