"""Greedy grouping of picture regions: the candidates of selective search.

Uijlings et al., Selective Search for Object Recognition (IJCV 2013): the two
most similar neighbours are merged repeatedly until one region is left; the box
of every region that occurs is a candidate.
"""

import numpy as np

NUM_BINS = 12


def region_boxes(labels: np.ndarray) -> np.ndarray:
    """Compute the box of each region.

    Args:
        labels: (H, W) int, regions 0..R-1, none empty.

    Returns:
        (R, 4) float64 xyxy pixels with continuous edges.
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
    """Compute the colour histogram of each region.

    Args:
        labels: (H, W) int, regions 0..R-1.
        image: (H, W, 3) uint8.

    Returns:
        (R, 3 * NUM_BINS); each row sums to 1.
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
    """Return the pairs (i, j), i < j, of regions with a common edge."""
    pairs = np.concatenate(
        [
            np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], 1),
            np.stack([labels[:-1].ravel(), labels[1:].ravel()], 1),
        ]
    )
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    return {(int(i), int(j)) for i, j in pairs}


def group_regions(labels: np.ndarray, image: np.ndarray, use_colour: bool = True) -> np.ndarray:
    """Group regions greedily and return the boxes of all regions that occur.

    The similarity of two regions is the sum of the overlap of their colour
    histograms, their smallness (small regions merge first), and how well they
    fill their common box.

    Args:
        labels: (H, W) int, regions 0..R-1, none empty.
        image: (H, W, 3) uint8, in any colour space.
        use_colour: False leaves the colour histograms out of the similarity.

    Returns:
        (2R - 1, 4) xyxy pixels, or fewer if some regions have no neighbours:
        first the merged regions, starting with the last one (the whole
        picture); then the original regions, the largest first.
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
        i, j = max(similar, key=lambda pair: (similar[pair], pair))  # the pair breaks ties
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
