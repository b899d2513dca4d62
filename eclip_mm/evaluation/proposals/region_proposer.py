"""Class-agnostic boxes from the picture alone, by greedy grouping of watershed regions."""

import cv2
import numpy as np

from eclip_mm.evaluation.functional import box_area, pairwise_iou
from eclip_mm.evaluation.proposals.region_grouping import group_regions
from eclip_mm.registry import TASK_UTILS

COLOUR_SPACES = (cv2.COLOR_RGB2LAB, cv2.COLOR_RGB2HSV)


@TASK_UTILS.register_module()
class RegionProposer:
    """Proposes object boxes without weights: selective search over OpenCV's watershed.

    The picture is divided along its edges into about ``cells`` x ``cells``
    regions (watershed from the flattest point of each cell). Similar
    neighbours are merged until one region is left, once by Lab and once by HSV
    colours, and the boxes of all regions are candidates. The same picture
    always gives the same boxes. ``tools/analysis_tools/proposal_recall.py``
    measures their recall.

    Args:
        num_proposals: maximal number of boxes.
        cells: regions along the longer side.
        work_size: longer side in pixels to which the picture is scaled first:
            the regions of a 64-pixel picture need room for edges.
        min_side: least width and height, as a fraction of the picture's.
        max_area: largest area, as a fraction of the picture's.
        max_overlap: a box is left out if its IoU with an earlier one is
            higher.
    """

    def __init__(
        self,
        num_proposals: int = 100,
        cells: int = 10,
        work_size: int = 128,
        min_side: float = 0.08,
        max_area: float = 0.8,
        max_overlap: float = 0.85,
    ) -> None:
        if num_proposals < 1 or cells < 2 or work_size < 4 * cells:
            raise ValueError(
                'RegionProposer: num_proposals >= 1, cells >= 2 and work_size >= 4 * cells are '
                f'needed, got {num_proposals}, {cells}, {work_size}'
            )
        self.num_proposals = num_proposals
        self.cells = cells
        self.work_size = work_size
        self.min_side = min_side
        self.max_area = max_area
        self.max_overlap = max_overlap

    def __call__(self, sample: dict, image) -> np.ndarray:
        """Propose boxes.

        Args:
            sample: only names the product in an error.
            image: (3, H, W) uint8 RGB.

        Returns:
            (K, 4) xyxy pixels, K <= num_proposals; large regions tend to come
            first.

        Raises:
            ValueError: there is no picture.
        """
        if image is None:
            raise ValueError(
                'RegionProposer needs the picture of product '
                f"{sample.get('product_id')!r}: evaluate with a loader's batches"
            )
        picture = np.ascontiguousarray(np.asarray(image).transpose(1, 2, 0))
        height, width = picture.shape[:2]
        scale = self.work_size / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        labels = watershed_regions(picture, self.work_size / self.cells)
        groups = [group_regions(labels, cv2.cvtColor(picture, s)) for s in COLOUR_SPACES]
        boxes = np.stack(groups, axis=1).reshape(-1, 4)  # alternating
        boxes *= np.array([width / size[0], height / size[1]] * 2)
        return self._select(boxes, width, height)

    def _select(self, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
        large = (boxes[:, 2] - boxes[:, 0] >= self.min_side * width) & (
            boxes[:, 3] - boxes[:, 1] >= self.min_side * height
        )
        boxes = boxes[large & (box_area(boxes) <= self.max_area * width * height)]
        overlaps = pairwise_iou(boxes, boxes) > self.max_overlap
        kept: list[int] = []
        for k in range(len(boxes)):
            if len(kept) < self.num_proposals and not overlaps[k, kept].any():
                kept.append(k)
        return boxes[kept]


def watershed_regions(picture: np.ndarray, cell: float) -> np.ndarray:
    """Divide a picture along its edges into regions of about a cell's size.

    Args:
        picture: (H, W, 3) uint8.
        cell: side of a cell in pixels, at least 4.

    Returns:
        (H, W) int64, regions 0..R-1.
    """
    height, width = picture.shape[:2]
    edges = np.zeros((height, width), np.float32)
    for channel in cv2.split(picture):
        dx, dy = (cv2.Sobel(channel, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
        # squares of integers are exact; cv2.magnitude rounds differently from call to call
        edges = np.maximum(edges, dx * dx + dy * dy)
    rows = np.linspace(0, height, max(1, round(height / cell)) + 1).astype(int)
    cols = np.linspace(0, width, max(1, round(width / cell)) + 1).astype(int)
    seeds = np.zeros((height, width), np.int32)
    count = 0
    for y1, y2 in zip(rows[:-1], rows[1:], strict=True):
        for x1, x2 in zip(cols[:-1], cols[1:], strict=True):
            y, x = np.unravel_index(edges[y1:y2, x1:x2].argmin(), (y2 - y1, x2 - x1))
            count += 1
            seeds[y1 + y, x1 + x] = count
    if count > 1:
        cv2.watershed(picture, seeds)
    # watershed marks lines between regions and a frame with -1: give them to a neighbour
    while (seeds < 1).any():
        grown = cv2.dilate(seeds.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
        if (grown < 1).all():
            grown[:] = 1  # a picture of one cell
        seeds = np.where(seeds < 1, grown, seeds)
    return np.unique(seeds, return_inverse=True)[1].reshape(height, width)
