"""Greedy grouping of picture regions: the candidates of selective search.

Uijlings et al., Selective Search for Object Recognition (IJCV 2013): the two
most similar neighbours merge, again and again, until one region is left; the
box of every region on the way is a candidate.
"""

import numpy as np

NUM_BINS = 12


def region_boxes(labels: np.ndarray) -> np.ndarray:
    """Box of each region.

    Args:
        labels: (H, W) int, regions 0..R-1, none empty.

    Returns:
        ndarray: (R, 4) float64 xyxy pixels with continuous edges.
    """
    height, width = labels.shape
    rows, cols = np.indices(labels.shape).reshape(2, -1)
    flat = labels.ravel()
    boxes = np.empty((flat.max() + 1, 4))
    boxes[:] = [width, height, 0, 0]
    for column, values, reduce in (
        (0, cols, np.minimum),
        (1, rows, np.minimum),
        (2, cols + 1, np.maximum),
        (3, rows + 1, np.maximum),
    ):
        reduce.at(boxes[:, column], flat, values)
    return boxes


def colour_histograms(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(R, 3 * NUM_BINS) colour histogram of each region; each sums to 1.

    Args:
        labels: (H, W) int, regions 0..R-1.
        image: (H, W, 3) uint8.
    """
    num_regions = labels.max() + 1
    bins = image.astype(np.int64) * NUM_BINS // 256
    parts = [
        np.bincount((labels * NUM_BINS + bins[..., c]).ravel(), minlength=num_regions * NUM_BINS)
        for c in range(3)
    ]
    histograms = np.concatenate([p.reshape(num_regions, NUM_BINS) for p in parts], axis=1)
    return histograms / histograms.sum(1, keepdims=True)


def neighbours(labels: np.ndarray) -> set[tuple[int, int]]:
    """Pairs (i, j), i < j, of regions that share an edge."""
    pairs = np.concatenate(
        [
            np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], 1),
            np.stack([labels[:-1].ravel(), labels[1:].ravel()], 1),
        ]
    )
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    return {(int(i), int(j)) for i, j in pairs}


def group_regions(labels: np.ndarray, image: np.ndarray, use_colour: bool = True) -> np.ndarray:
    """Boxes of the regions and of all regions that grouping makes of them.

    Similarity of two regions is the sum of: overlap of their colour
    histograms, smallness (small regions merge first), and how well they fill
    their common box.

    Args:
        labels: (H, W) int, regions 0..R-1, none empty.
        image: (H, W, 3) uint8, in a colour space of one's choice.
        use_colour: Without it, size and fit alone decide.

    Returns:
        ndarray: (2R - 1, 4) xyxy pixels, or fewer where the picture falls
        apart: the merged regions first, the last one of all (the whole
        picture) at the head; then the regions themselves, the largest first.
    """
    area = labels.size
    boxes = list(region_boxes(labels))
    sizes = list(np.bincount(labels.ravel()).astype(float))
    colours = list(colour_histograms(labels, image))
    num_regions = len(boxes)

    def union_box(i, j):
        return np.concatenate(
            [np.minimum(boxes[i][:2], boxes[j][:2]), np.maximum(boxes[i][2:], boxes[j][2:])]
        )

    def similarity(i, j):
        x1, y1, x2, y2 = union_box(i, j)
        size = sizes[i] + sizes[j]
        fill = 1 - ((x2 - x1) * (y2 - y1) - size) / area
        colour = np.minimum(colours[i], colours[j]).sum() if use_colour else 0.0
        return colour + (1 - size / area) + fill

    similar = {pair: similarity(*pair) for pair in neighbours(labels)}
    while similar:
        i, j = max(similar, key=lambda pair: (similar[pair], pair))  # ties: the same everywhere
        new = len(boxes)
        boxes.append(union_box(i, j))
        sizes.append(sizes[i] + sizes[j])
        colours.append((sizes[i] * colours[i] + sizes[j] * colours[j]) / sizes[new])
        touched = [pair for pair in similar if i in pair or j in pair]
        others = {k for pair in touched for k in pair} - {i, j}
        for pair in touched:
            del similar[pair]
        similar.update({(k, new): similarity(k, new) for k in others})
    first = np.argsort(-np.array(sizes[:num_regions]), kind='stable')
    return np.array([*boxes[: num_regions - 1 : -1], *(boxes[k] for k in first)])
