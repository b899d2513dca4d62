"""Pictures of generated products: merchant page, customer photo, video frame."""

import math
from dataclasses import dataclass

import numpy as np

from eclip_mm.datasets.synthetic.attributes import COLOURS, SHAPES, ProductSpec
from eclip_mm.datasets.synthetic.shapes import mark_mask, pattern_mask, polar, silhouette

SOURCES = ('merchant', 'comment', 'video')

_SUPERSAMPLE = 2
_MARK_RADIUS = 0.3
#: A product counts as visible, and gets a box, if at least this fraction of its pixels shows.
MIN_VISIBLE = 0.3
#: At least this fraction of the product that the picture belongs to is visible.
MIN_TARGET_VISIBLE = 0.6


@dataclass
class _Placed:
    spec: ProductSpec
    x: float  # centre, pixels
    y: float
    half: float  # half the side of the shape's unit square, pixels
    angle: float


def _render_product(canvas, owner, item: _Placed, index: int):
    """Draw one product; ``owner`` (H, W) int says which product is on top at each pixel."""
    height, width = owner.shape
    cos, sin = polar(item.angle)
    reach = item.half * (abs(cos) + abs(sin))
    x1, x2 = max(0, math.floor(item.x - reach)), min(width, math.ceil(item.x + reach))
    y1, y2 = max(0, math.floor(item.y - reach)), min(height, math.ceil(item.y + reach))
    if x1 >= x2 or y1 >= y2:
        return 0
    step = 1.0 / _SUPERSAMPLE
    xs = x1 + step * (np.arange((x2 - x1) * _SUPERSAMPLE) + 0.5)
    ys = y1 + step * (np.arange((y2 - y1) * _SUPERSAMPLE) + 0.5)
    dx, dy = (xs - item.x)[None, :] / item.half, (ys - item.y)[:, None] / item.half
    u, v = dx * cos + dy * sin, dy * cos - dx * sin

    mask = silhouette(item.spec.shape, u, v)
    colour = np.empty(mask.shape + (3,), dtype=np.int32)
    colour[:] = COLOURS[item.spec.colour]
    if item.spec.second_colour:
        colour[pattern_mask(item.spec.pattern, u, v)] = COLOURS[item.spec.second_colour]
    if item.spec.mark:
        mu, mv = SHAPES[item.spec.shape]
        mark = mark_mask(item.spec.mark, (u - mu) / _MARK_RADIUS, (v - mv) / _MARK_RADIUS)
        colour[mark] = COLOURS[item.spec.mark_colour]

    # integer sums over the s x s samples of a pixel are exact in any order
    def pool(array):
        h, w = y2 - y1, x2 - x1
        return array.reshape(h, _SUPERSAMPLE, w, _SUPERSAMPLE, -1).sum(axis=(1, 3))

    count = pool(mask.astype(np.int32))  # (h, w, 1) covered samples
    paint = pool(colour * mask[..., None])  # (h, w, 3)
    total = _SUPERSAMPLE * _SUPERSAMPLE
    patch = canvas[y1:y2, x1:x2]
    canvas[y1:y2, x1:x2] = (paint + patch * (total - count)) / total
    covered = count[..., 0] * 2 >= total
    owner[y1:y2, x1:x2][covered] = index
    return int(covered.sum())


def _background(rng, size, clean):
    """Float canvas (size, size, 3) in 0..255 without any product."""
    ramp = (np.arange(size) + 0.5) / size
    if clean:
        return np.full((size, size, 3), 225.0 + 30.0 * rng.random())
    base = 70 + 130 * rng.random(3) * 0.35 + 90 * rng.random()
    other = base + 90 * (rng.random(3) - 0.5)
    across, down = rng.random(), rng.random()
    mix = (across * ramp[None, :] + down * ramp[:, None]) / max(across + down, 1e-3)
    canvas = base + (other - base) * mix[..., None]
    kind = rng.integers(4)
    if kind == 1:  # planks
        board = np.floor(ramp * rng.integers(4, 9)) % 2
        canvas += (board[:, None] if rng.random() < 0.5 else board[None, :])[..., None] * 18
    elif kind == 2:  # floor tiles
        cells = np.floor(ramp * rng.integers(3, 8))
        canvas += ((cells[:, None] + cells[None, :]) % 2)[..., None] * 16
    # clutter that is no product: thin strips and grey rectangles
    for _ in range(rng.integers(2, 7)):
        x, y = (rng.random(2) * size).astype(int)
        w, h = 1 + (rng.random(2) * size * 0.22).astype(int)
        if rng.random() < 0.5:
            w = max(1, w // 6)
        canvas[y : y + h, x : x + w] = 60 + 140 * rng.random() + 50 * (rng.random(3) - 0.5)
    return canvas


def _place(rng, size, specs, small, large):
    """Random places for products that are not too close together."""
    placed = []
    for spec in specs:
        best, best_gap = None, -1e9
        for _ in range(30):
            half = size * (small + (large - small) * rng.random()) / 2
            margin = 0.85 * half
            x, y = margin + (size - 2 * margin) * rng.random(2)
            item = _Placed(
                spec, float(x), float(y), float(half), float((rng.random() - 0.5) * 1.4)
            )
            # gap between the two circles, in units of their radii; negative if they overlap
            gap = min(
                (
                    max(abs(item.x - o.x), abs(item.y - o.y)) / (item.half + o.half) - 1
                    for o in placed
                ),
                default=1.0,
            )
            if gap > best_gap:
                best, best_gap = item, gap
            if gap > -0.15:
                break
        placed.append(best)
    return placed


def _box_blur(canvas, passes):
    for _ in range(passes):
        p = np.pad(canvas, ((1, 1), (1, 1), (0, 0)), mode='edge')
        canvas = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] + 2 * canvas) / 6
    return canvas


def _banner(rng, canvas, owner, index):
    """A caption bar with blocks as letters, as shops put over their videos."""
    size = len(canvas)
    height = int(size * (0.08 + 0.08 * rng.random()))
    top = 0 if rng.random() < 0.5 else size - height
    canvas[top : top + height] = 255 * rng.random(3)
    owner[top : top + height] = index
    ink, x = 255 * rng.random(3), 2
    while x < size - 4:
        w = int(rng.integers(1, 5))
        canvas[top + height // 3 : top + height - height // 3, x : x + w] = ink
        x += w + int(rng.integers(1, 4))


def _draw(rng, target, others, source, size, scale):
    """One attempt at a picture: uint8 canvas and the boxes of the visible products."""
    owner = np.full((size, size), -1, dtype=np.int64)
    canvas = _background(rng, size, clean=source == 'merchant')
    if source == 'merchant':
        half = size * (0.6 + 0.25 * rng.random()) / 2
        x, y = size / 2 + size * 0.06 * (rng.random(2) - 0.5)
        placed = [_Placed(target, float(x), float(y), half, (rng.random() - 0.5) * 0.3)]
    else:
        specs = [target, *others]
        placed = _place(rng, size, [specs[k] for k in rng.permutation(len(specs))], *scale)
    areas = [_render_product(canvas, owner, item, k) for k, item in enumerate(placed)]

    if source == 'comment' and rng.random() < 0.4:  # a strap or a hand covers a part of the scene
        at, width = int(rng.random() * size), max(2, int(size * 0.06))
        strip = (slice(None), slice(at, at + width))
        if rng.random() < 0.5:
            strip = strip[::-1]
        canvas[strip] = 70 + 110 * rng.random() + 30 * (rng.random(3) - 0.5)
        owner[strip] = -1
    if source == 'video':
        _banner(rng, canvas, owner, -1)
        canvas = _box_blur(canvas, int(rng.integers(0, 3)))
    if source != 'merchant':  # light falls from one side
        ramp = (np.arange(size) + 0.5) / size - 0.5
        gx, gy = 0.7 * (rng.random(2) - 0.5)
        light = 0.8 + 0.35 * rng.random() + gx * ramp[None, :] + gy * ramp[:, None]
        canvas = canvas * light[..., None]
        canvas = canvas + 14 * (rng.random(canvas.shape) - 0.5)
    pixels = np.floor(np.clip(canvas, 0, 255) + 0.5).astype(np.uint8)

    boxes = []
    for k, (item, area) in enumerate(zip(placed, areas, strict=True)):
        ys, xs = np.nonzero(owner == k)
        visible = len(ys) / max(area, 1)
        if visible < MIN_VISIBLE:
            continue
        if item.spec is target and visible < MIN_TARGET_VISIBLE:
            continue
        boxes.append(
            dict(
                bbox=[float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)],
                product_id=item.spec.product_id,
            )
        )
    return pixels, boxes


def render_picture(
    rng: np.random.Generator,
    target: ProductSpec,
    others: list[ProductSpec],
    source: str,
    size: int,
    object_scale: tuple[float, float] = (0.27, 0.42),
) -> tuple[np.ndarray, list[dict]]:
    """A picture of ``target`` as ``source`` would take it.

    Args:
        rng: Source of every choice.
        target: Product that the picture belongs to.
        others: Products around it (not in merchant pictures).
        source: One of :data:`SOURCES`.
        size: Side of the square picture in pixels.
        object_scale: Smallest and largest side of a product in a comment or video picture, as a
            fraction of the picture's side.

    Returns:
        (size, size, 3) uint8 RGB pixels and the boxes ``{bbox, product_id}`` (xyxy pixels, exact
        bounds of the visible mask) of every product of which at least 30% can be seen. The target
        and at least two others (all, if fewer are given) are always among them.
    """
    if source not in SOURCES:
        raise ValueError(f'source must be one of {SOURCES}, got {source!r}')
    wanted = 1 if source == 'merchant' else 1 + min(2, len(others))
    for _ in range(50):
        pixels, boxes = _draw(rng, target, others, source, size, object_scale)
        if len(boxes) >= wanted and any(b['product_id'] == target.product_id for b in boxes):
            return pixels, boxes
    raise RuntimeError(
        f'no scene of {size} pixels shows {target.product_id} and two of '
        f'{len(others)} other products; use a larger image_size'
    )
