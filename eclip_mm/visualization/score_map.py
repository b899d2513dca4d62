"""Score maps over photos: where the model looks for a prompt."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from eclip_mm.evaluation.functional import (
    ALPHA,
    peak_points,
    right_candidates,
    score_boxes,
    upsample_score_map,
)
from eclip_mm.visualization.canvas import (
    FAINT_INK,
    GAP,
    GREEN,
    INK,
    ORANGE,
    WHITE,
    draw_frame,
    draw_tags,
    fit_scale,
    grid,
    stack,
    text_block,
    to_pil,
)

LEGEND = (
    'left: photo with the box of the named product (green). right: score map, bright = '
    'high; cross = its peak; numbered boxes = best candidates in order: right ones white, wrong '
    'ones orange and dashed; percentages = score relative to the best'
)


def overlay_score_map(
    image,
    score_map,
    opacity: float = 0.75,
    colormap: str = 'inferno',
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """Draw a score map in colour over the photo in grey.

    The map is divided by its maximum, so brightness compares places of one
    map, not different maps. The photo shows through where S is low.

    Args:
        image: a picture, see :func:`~eclip_mm.visualization.canvas.to_pil`.
        score_map: (h, w) non-negative, on the patch grid.
        opacity: opacity of the colour where S is highest.
        colormap: name of a matplotlib colour map.
        size: (width, height) of the result. Defaults to that of the picture.
    """
    image = to_pil(image)
    width, height = size or image.size
    ground = np.asarray(_resize(image, (width, height)).convert('L'), float)[..., None] * 0.8
    scores = np.clip(upsample_score_map(score_map, (height, width)), 0, None)
    scores = scores / max(scores.max(), 1e-12)
    colour = matplotlib.colormaps[colormap](scores)[..., :3] * 255
    weight = opacity * (0.25 + 0.75 * scores[..., None])
    return Image.fromarray((ground * (1 - weight) + colour * weight).round().astype(np.uint8))


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize a picture: enlarge with sharp pixels, shrink smoothly."""
    larger = size[0] >= image.width
    return image.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS)


def draw_score_map(
    image,
    score_map,
    prompt: str = '',
    title: str = '',
    gt_bboxes=(),
    candidates=(),
    alpha: float = ALPHA,
    iou_thr: float = 0.5,
    num_ranked: int = 3,
    target_size: int = 256,
    font: str | None = None,
) -> Image.Image:
    """Draw a photo with its score map beside it and the prompt above.

    The right boxes are green on both, and a cross marks the peak of the map.
    The best of ``candidates``, scored as ``ProductGrounding`` does, are
    numbered by rank. Right ones are white, wrong ones orange and dashed; the
    lines above say the same in words.

    Args:
        image: a picture, see :func:`~eclip_mm.visualization.canvas.to_pil`;
            small ones are enlarged by a whole factor.
        score_map: (h, w) non-negative, on the patch grid.
        prompt: the text that was searched for.
        title: a line above the prompt, such as the product_id.
        gt_bboxes: (G, 4) xyxy pixels of ``image``.
        candidates: (K, 4) xyxy pixels of ``image``; may be empty.
        alpha: exponent of the area in the candidates' score.
        iou_thr: least IoU of a right candidate.
        num_ranked: number of candidates drawn.
        target_size: approximate length of the photo's longer side in pixels.
        font: font file, needed for Chinese.
    """
    image = to_pil(image)
    img_shape = (image.height, image.width)
    scale = fit_scale(image.size, target_size)
    size = (round(image.width * scale), round(image.height * scale))
    gt_bboxes = np.asarray(gt_bboxes, dtype=np.float64).reshape(-1, 4)
    candidates = np.asarray(candidates, dtype=np.float64).reshape(-1, 4)

    photo, heat = _resize(image, size), overlay_score_map(image, score_map, size=size)
    for panel in (photo, heat):
        draw = ImageDraw.Draw(panel)
        for box in gt_bboxes:
            draw_frame(draw, box * scale, GREEN, width=3)
    scores = score_boxes(upsample_score_map(score_map, img_shape), candidates, alpha)
    # a stable sort ranks the first of equal scores first, as top1_box does
    order = np.argsort(-scores, kind='stable')[:num_ranked]
    right = right_candidates(candidates[order], gt_bboxes, iou_thr)
    draw = ImageDraw.Draw(heat)
    frames = candidates[order] * scale
    frames[right] += [5, 5, -5, -5]  # inside the green frame, so as not to hide it
    for frame, is_right in reversed(list(zip(frames, right, strict=True))):
        draw_frame(draw, frame, WHITE if is_right else ORANGE, dashed=not is_right)
    for x, y in peak_points(score_map, img_shape)[:4] * scale:
        for colour, reach, width in ((INK, 9, 6), (WHITE, 8, 2)):
            draw.line([x - reach, y, x + reach, y], fill=colour, width=width)
            draw.line([x, y - reach, x, y + reach], fill=colour, width=width)

    draw_tags(draw, frames, [WHITE if is_right else ORANGE for is_right in right])

    panels = stack([photo, heat], horizontal=True, gap=4)
    verdict = ('right box' if right[0] else 'wrong box') if len(right) else ''
    head = ' · '.join(part for part in (title, verdict) if part)
    colour = ORANGE if verdict == 'wrong box' else FAINT_INK
    parts = [text_block(head, panels.width, 12, 1, colour, font)] if head else []
    if prompt:
        parts.append(text_block(f'“{prompt}”', panels.width, 15, 2, INK, font, num_lines=2))
    if len(order) > 1:
        relative = scores[order] / max(scores.max(), 1e-12)
        line = ' · '.join(
            f'{rank} {"right" if is_right else "wrong"} {score:.0%}'
            for rank, (is_right, score) in enumerate(zip(right, relative, strict=True), 1)
        )
        parts.append(text_block(line, panels.width, 12, 1, FAINT_INK, font))
    return stack([*parts, panels])


def score_map_sheet(
    items: Sequence[dict],
    columns: int = 3,
    title: str = '',
    legend: bool = True,
    font: str | None = None,
    **kwargs,
) -> Image.Image:
    """Draw several score maps on one sheet.

    Args:
        items: arguments of :func:`draw_score_map` for each.
        columns: number of score maps side by side.
        title: heading.
        legend: explain the colours in a line below.
        font: font file, needed for Chinese.
        **kwargs: arguments of :func:`draw_score_map` for all.

    Raises:
        ValueError: ``items`` is empty.
    """
    sheet = grid([draw_score_map(**{**kwargs, 'font': font, **item}) for item in items], columns)
    parts = [text_block(title, sheet.width, 22, 2, INK, font, margin=GAP)] if title else []
    parts.append(sheet)
    if legend:
        parts.append(text_block(LEGEND, sheet.width, 13, 4, FAINT_INK, font, margin=GAP))
    return stack(parts)
