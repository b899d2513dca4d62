"""What stands in the place of a detector's regions: patch tokens, or the boxes of a proposer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eclip_mm.registry import MODELS, TASK_UTILS

#: (x1, y1, x2, y2, area) of the whole picture
WHOLE = (0.0, 0.0, 1.0, 1.0, 1.0)


@dataclass
class Regions:
    """Regions of B pictures, the whole picture first.

    Attributes:
        feats: (B, 1 + K, C) features in the tower's width.
        places: (B, 1 + K, 5) x1, y1, x2, y2 and area as fractions of the picture.
        mask: (B, 1 + K) bool, False where a picture has fewer regions.
        cover: (B, K, N) fraction of each of the N patches that each of the K
            regions covers; None where the regions are the patches.
    """

    feats: Tensor
    places: Tensor
    mask: Tensor
    cover: Tensor | None = None

    def to_patches(self, values: Tensor) -> Tensor:
        """What each patch gets from the regions that cover it, weighted by how much they do.

        Args:
            values: (B, K, D) of the regions, without the whole picture.

        Returns:
            (B, N, D); 0 where no region lies.
        """
        if self.cover is None:
            return values
        cover = self.cover * self.mask[:, 1:, None]
        return cover.transpose(1, 2) @ values / cover.sum(dim=1).clamp(min=1e-8)[..., None]

    def to_map(self, scores: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, h, w) map of one score (B, K) for each region, see :meth:`to_patches`."""
        return self.to_patches(scores[..., None]).squeeze(-1).unflatten(1, grid)


def grid_boxes(grid: tuple[int, int], like: Tensor) -> Tensor:
    """(N, 4) xyxy of the patches of a grid (h, w), row by row, as fractions of the picture."""
    height, width = grid
    y1, x1 = torch.meshgrid(
        torch.arange(height, device=like.device) / height,
        torch.arange(width, device=like.device) / width,
        indexing='ij',
    )
    boxes = torch.stack([x1, y1, x1 + 1 / width, y1 + 1 / height], dim=-1)
    return boxes.flatten(0, 1).to(like.dtype)


def add_area(boxes: Tensor) -> Tensor:
    """(..., 5) of (..., 4) boxes xyxy: the five numbers by which ViLBERT tells a place."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes, sides.prod(dim=-1, keepdim=True)], dim=-1)


def covered_part(boxes: Tensor, patches: Tensor) -> Tensor:
    """The fraction of each patch that lies in each box.

    Args:
        boxes: (B, K, 4) xyxy.
        patches: (N, 4) xyxy, each with an area.

    Returns:
        (B, K, N), in [0, 1].
    """
    low = torch.maximum(boxes[:, :, None, :2], patches[:, :2])
    high = torch.minimum(boxes[:, :, None, 2:], patches[:, 2:])
    area = (patches[:, 2:] - patches[:, :2]).prod(dim=-1)
    return (high - low).clamp(min=0).prod(dim=-1) / area


@MODELS.register_module()
class PatchRegions(nn.Module):
    """Every patch token is a region, and the tower's pooled token is the whole picture."""

    def forward(
        self,
        class_token: Tensor,
        patch_tokens: Tensor,
        grid: tuple[int, int],
        images: Tensor | None = None,
    ) -> Regions:
        """
        Args:
            class_token: (B, C).
            patch_tokens: (B, N, C).
            grid: (h, w) with N = h * w.
            images: not read.
        """
        num_images, num_patches = patch_tokens.shape[:2]
        places = add_area(grid_boxes(grid, patch_tokens))
        places = torch.cat([places.new_tensor([WHOLE]), places])
        return Regions(
            feats=torch.cat([class_token[:, None], patch_tokens], dim=1),
            places=places.expand(num_images, -1, -1),
            mask=places.new_ones(num_images, 1 + num_patches, dtype=torch.bool),
        )


@MODELS.register_module()
class BoxRegions(nn.Module):
    """Regions are the boxes of a proposer, whose features are means of the patches inside.

    Args:
        proposer: config of a proposer in TASK_UTILS, a callable
            ``(sample: dict, image) -> (K, 4)`` boxes xyxy in pixels, such as
            ``RegionProposer`` or ``MMDetProposer``.
        num_regions: K boxes of a picture, the first ones. The rest of a
            picture with fewer is padding.
    """

    def __init__(self, proposer: dict, num_regions: int = 36):
        super().__init__()
        self.proposer = TASK_UTILS.build(proposer)
        self.num_regions = num_regions
        for name in ('mean', 'std'):
            self.register_buffer(name, torch.full((3, 1, 1), 127.5), persistent=False)

    def follow(self, data_preprocessor: nn.Module) -> None:
        """Take mean and std of the pictures: the proposer gets them as the loader has them."""
        self.mean.copy_(data_preprocessor.mean)
        self.std.copy_(data_preprocessor.std)

    @torch.no_grad()
    def propose(self, images: Tensor) -> list[Tensor]:
        """Boxes (K, 4) xyxy of each picture, as fractions of it; the whole picture if none.

        Args:
            images: (B, 3, H, W) normalised pictures.
        """
        pictures = (images.float() * self.std + self.mean).round().clamp(0, 255)
        height, width = images.shape[-2:]
        size = torch.tensor([width, height, width, height])
        found = []
        for picture in pictures.to(torch.uint8).cpu():
            boxes = torch.as_tensor(self.proposer({}, picture))[: self.num_regions]
            boxes = (boxes.float().view(-1, 4) / size).clamp(0, 1)
            found.append(boxes if len(boxes) else torch.tensor([WHOLE[:4]]))
        return found

    def forward(
        self,
        class_token: Tensor,
        patch_tokens: Tensor,
        grid: tuple[int, int],
        images: Tensor | None = None,
    ) -> Regions:
        """
        Args:
            class_token: (B, C).
            patch_tokens: (B, N, C).
            grid: (h, w) with N = h * w.
            images: (B, 3, H, W) normalised pictures.

        Raises:
            ValueError: there are no pictures, as with ``feature_cache``.
        """
        if images is None or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                'BoxRegions proposes boxes in pictures, but the batch holds features of a frozen '
                'tower: leave feature_cache out, or take PatchRegions'
            )
        found = self.propose(images)
        boxes = patch_tokens.new_zeros(len(found), self.num_regions, 4)
        for row, each in zip(boxes, found, strict=True):
            row[: len(each)] = each
        counts = torch.tensor([len(each) for each in found], device=boxes.device)
        mask = torch.arange(boxes.shape[1], device=boxes.device) < counts[:, None]
        cover = covered_part(boxes, grid_boxes(grid, patch_tokens))
        share = cover / cover.sum(dim=-1, keepdim=True).clamp(min=1e-8)
        whole = boxes.new_tensor(WHOLE).expand(len(boxes), 1, -1)
        return Regions(
            feats=torch.cat([class_token[:, None], share @ patch_tokens], dim=1),
            places=torch.cat([whole, add_area(boxes)], dim=1),
            mask=torch.cat([mask.new_ones(len(mask), 1), mask], dim=1),
            cover=cover,
        )


def with_neighbours(hidden: Tensor, places: Tensor, max_iou: float = 0.4) -> Tensor:
    """Hidden regions and all that overlap one of them, which would give it away (ViLBERT).

    Args:
        hidden: (B, K) bool.
        places: (B, K, 5).
        max_iou: a region with a higher IoU is hidden as well.

    Returns:
        (B, K) bool.
    """
    boxes, area = places[..., :4], places[..., 4]
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    both = (high - low).clamp(min=0).prod(dim=-1)
    union = area[:, :, None] + area[:, None, :] - both
    return hidden | ((both > max_iou * union) & hidden[:, None, :]).any(dim=-1)
