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
    GREY,
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
    "high; cross = its peak; numbered boxes = best candidates in order; the first is the map's "
    'choice, white if it is right, orange and dashed if it is wrong; percentages = score '
    'relative to the best'
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
    img_shape: tuple[int, int] | None = None,
    alpha: float = ALPHA,
    iou_thr: float = 0.5,
    num_ranked: int = 3,
    target_size: int = 256,
    font: str | None = None,
) -> Image.Image:
    """Draw a photo with its score map beside it and the prompt above.

    The right boxes are green on both, and a cross marks the peak of the map.
    The best of ``candidates``, scored as ``ProductGrounding`` does, are
    numbered by rank. Only the first is judged, since it is what the map
    chooses: it is white if it is right, orange and dashed if it is wrong, and
    the lines above say the same in words. The others are grey, and so is the
    first if there are no right boxes to compare with.

    Args:
        image: a picture, see :func:`~eclip_mm.visualization.canvas.to_pil`;
            small ones are enlarged by a whole factor.
        score_map: (h, w) non-negative, on the patch grid.
        prompt: the text that was searched for.
        title: a line above the prompt, such as the product_id.
        gt_bboxes: (G, 4) xyxy pixels of ``img_shape``.
        candidates: (K, 4) xyxy pixels of ``img_shape``; may be empty.
        img_shape: (height, width) in which boxes are given and scored, such as
            that of the network input; ``image`` may have another size and
            aspect ratio. Defaults to that of ``image``.
        alpha: exponent of the area in the candidates' score.
        iou_thr: least IoU of a right candidate.
        num_ranked: number of candidates drawn.
        target_size: approximate length of the photo's longer side in pixels.
        font: font file, needed for Chinese.
    """
    image = to_pil(image)
    height, width = img_shape = img_shape or (image.height, image.width)
    scale = fit_scale(image.size, target_size)
    size = (round(image.width * scale), round(image.height * scale))
    to_canvas = np.array([size[0] / width, size[1] / height] * 2)
    gt_bboxes = np.asarray(gt_bboxes, dtype=np.float64).reshape(-1, 4)
    candidates = np.asarray(candidates, dtype=np.float64).reshape(-1, 4)

    photo, heat = _resize(image, size), overlay_score_map(image, score_map, size=size)
    for panel in (photo, heat):
        draw = ImageDraw.Draw(panel)
        for box in gt_bboxes:
            draw_frame(draw, box * to_canvas, GREEN, width=3)
    scores = score_boxes(upsample_score_map(score_map, img_shape), candidates, alpha)
    # a stable sort ranks the first of equal scores first, as top1_box does
    order = np.argsort(-scores, kind='stable')[:num_ranked]
    right = right_candidates(candidates[order], gt_bboxes, iou_thr)
    verdict = ('right' if right[0] else 'wrong') if len(right) and len(gt_bboxes) else ''
    colours = [GREY] * len(order)
    if verdict:
        colours[0] = WHITE if verdict == 'right' else ORANGE
    draw = ImageDraw.Draw(heat)
    frames = candidates[order] * to_canvas
    frames[right] += [5, 5, -5, -5]  # inside the green frame, so as not to hide it
    for frame, colour in reversed(list(zip(frames, colours, strict=True))):
        draw_frame(draw, frame, colour, dashed=colour == ORANGE)
    for x, y in peak_points(score_map, img_shape)[:4] * to_canvas[:2]:
        for colour, reach, thick in ((INK, 9, 6), (WHITE, 8, 2)):
            draw.line([x - reach, y, x + reach, y], fill=colour, width=thick)
            draw.line([x, y - reach, x, y + reach], fill=colour, width=thick)

    draw_tags(draw, frames, colours)

    panels = stack([photo, heat], horizontal=True, gap=4)
    head = ' · '.join(part for part in (title, f'{verdict} box' if verdict else '') if part)
    colour = ORANGE if verdict == 'wrong' else FAINT_INK
    parts = [text_block(head, panels.width, 12, 1, colour, font)] if head else []
    if prompt:
        parts.append(text_block(f'“{prompt}”', panels.width, 15, 2, INK, font, num_lines=2))
    if len(order) > 1:
        relative = scores[order] / max(scores.max(), 1e-12)
        line = ' · '.join(f'{rank}: {score:.0%}' for rank, score in enumerate(relative, 1))
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
