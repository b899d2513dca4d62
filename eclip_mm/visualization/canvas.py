"""Drawing helpers of the sheets: pictures, text, frames and grids, with PIL only."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from eclip_mm.datasets.transforms.loading import LoadProductImages

WHITE = BACKGROUND = (255, 255, 255)
INK = (25, 25, 25)
FAINT_INK = (110, 110, 110)
GREY = (190, 190, 190)
# Okabe and Ito's green and orange can be distinguished with every kind of colour vision.
GREEN = (0, 158, 115)
ORANGE = (230, 120, 0)
GAP = 16  # between the cells of a sheet and around them, pixels
DASH = 6  # half the period of a dashed frame, pixels


@lru_cache
def load_font(size: int, path: str | None = None) -> ImageFont.FreeTypeFont:
    """Load a font.

    Args:
        size: height in pixels.
        path: a TrueType or OpenType file. Defaults to DejaVu Sans, which comes
            with matplotlib and has no Chinese characters: give a font such as
            Noto Sans CJK for Chinese titles.
    """
    if path is None:
        import matplotlib

        path = str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'))
    return ImageFont.truetype(path, size)


def to_pil(image) -> Image.Image:
    """Convert any picture to PIL RGB.

    Args:
        image: a PIL picture, a file, an (H, W, 3) or (H, W) uint8 array, or a
            (3, H, W) uint8 tensor as the loader gives it.

    Raises:
        ImageDecodeError: the file is missing or no picture.
        ValueError: the picture has another shape or dtype.
    """
    if isinstance(image, (str, Path)):
        return LoadProductImages()(dict(image_records=[dict(path=str(image))]))['images'][0]
    if isinstance(image, Image.Image):
        return image.convert('RGB')
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()
    image = np.asarray(image)
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or (image.ndim == 3 and image.shape[2] != 3)
    ):
        raise ValueError(
            'a picture is an (H, W, 3) uint8 array, a (3, H, W) uint8 tensor, a PIL '
            f'image or a file, got {image.dtype} of shape {image.shape}'
        )
    return Image.fromarray(image).convert('RGB')


def fit_scale(size: tuple[int, int], target: int) -> float:
    """Return the factor that makes the longer side about ``target`` pixels.

    Small pictures are enlarged by a whole number, so that pixels stay square
    and boxes stay on pixel edges.
    """
    scale = target / max(size)
    return float(max(1, round(scale))) if scale >= 1 else scale


def wrap_text(text: str, font: ImageFont.FreeTypeFont, width: int, max_lines: int) -> list[str]:
    """Break text into lines of at most ``width`` pixels; text that is too long ends in '…'."""
    lines, line = [], ''
    # Break between characters if a single word is too wide (Chinese has no spaces).
    for word in text.split():
        trial = f'{line} {word}'.strip()
        if font.getlength(trial) <= width:
            line = trial
            continue
        if line:
            lines.append(line)
        line = word
        while font.getlength(line) > width and len(line) > 1:
            cut = len(line) - 1
            while cut > 1 and font.getlength(line[:cut]) > width:
                cut -= 1
            lines.append(line[:cut])
            line = line[cut:]
    lines.append(line)
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and font.getlength(last + '…') > width:
            last = last[:-1]
        lines = [*lines[: max_lines - 1], last.rstrip() + '…']
    return lines


def text_block(
    text: str,
    width: int,
    size: int = 14,
    max_lines: int = 3,
    colour=INK,
    font: str | None = None,
    num_lines: int | None = None,
    margin: int = 2,
) -> Image.Image:
    """Draw text on a white strip.

    Args:
        text: the text.
        width: width of the strip in pixels.
        size: font height in pixels.
        max_lines: maximal number of lines.
        colour: RGB.
        font: see :func:`load_font`.
        num_lines: height of the strip in lines, so that strips side by side
            align. Defaults to the number of lines of the text.
        margin: pixels left free at both sides.
    """
    face = load_font(size, font)
    lines = wrap_text(text, face, width - 2 * margin, max_lines)
    step = round(size * 1.3)
    block = Image.new('RGB', (width, step * (num_lines or len(lines)) + 4), BACKGROUND)
    draw = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        draw.text((margin, 2 + number * step), line, fill=colour, font=face)
    return block


def draw_frame(
    draw: ImageDraw.ImageDraw,
    box: Sequence[float],
    colour,
    width: int = 2,
    dashed: bool = False,
) -> None:
    """Draw a coloured rectangle with dark edges, visible on any background.

    Args:
        draw: drawing context of the canvas.
        box: xyxy in pixels of the canvas.
        colour: RGB.
        width: thickness of the coloured line in pixels.
        dashed: every other segment of the coloured line is dark.
    """
    x1, y1, x2, y2 = (round(value) for value in box)
    x2, y2 = max(x2 - 1, x1), max(y2 - 1, y1)
    for inset, fill, thick in ((-1, INK, width + 2), (0, colour, width)):
        draw.rectangle(
            [x1 + inset, y1 + inset, max(x2 - inset, x1 + inset), max(y2 - inset, y1 + inset)],
            outline=fill,
            width=thick,
        )
    if dashed:
        edge = width - 1
        for x in range(x1 + DASH, x2 - edge, 2 * DASH):
            end = min(x + DASH - 1, x2)
            draw.rectangle([x, y1, end, y1 + edge], fill=INK)
            draw.rectangle([x, y2 - edge, end, y2], fill=INK)
        for y in range(y1 + DASH, y2 - edge, 2 * DASH):
            end = min(y + DASH - 1, y2)
            draw.rectangle([x1, y, x1 + edge, end], fill=INK)
            draw.rectangle([x2 - edge, y, x2, end], fill=INK)


def draw_tags(draw: ImageDraw.ImageDraw, boxes: Sequence[Sequence[float]], colours) -> None:
    """Number boxes 1, 2, ..., each in a corner that no other number covers.

    Args:
        draw: drawing context of the canvas.
        boxes: (K, 4) xyxy in pixels of the canvas.
        colours: RGB background of each number.
    """
    face, side = load_font(13), 17
    canvas_width, canvas_height = draw.im.size
    taken = []
    for number, (box, colour) in enumerate(zip(boxes, colours, strict=True), 1):
        x1, y1, x2, y2 = (round(value) for value in box)
        width = max(side, round(face.getlength(str(number))) + 6)
        corners = [(x, y) for y in (y1, y2 - side) for x in (x1, x2 - width)]
        corners = [
            (min(max(x, 0), canvas_width - width), min(max(y, 0), canvas_height - side))
            for x, y in corners
        ]
        free = [
            (x, y)
            for x, y in corners
            if all(abs(x - u) >= width or abs(y - v) >= side for u, v in taken)
        ]
        x, y = (free or corners)[0]
        taken.append((x, y))
        draw.rectangle([x, y, x + width - 1, y + side - 1], fill=colour, outline=INK)
        draw.text((x + width / 2, y + side / 2), str(number), fill=INK, font=face, anchor='mm')


def stack(images: Sequence[Image.Image], horizontal: bool = False, gap: int = 0) -> Image.Image:
    """Put pictures in a row or a column on white, aligned at the top or left."""
    widths, heights = [im.width for im in images], [im.height for im in images]
    space = gap * (len(images) - 1)
    size = (
        (sum(widths) + space, max(heights)) if horizontal else (max(widths), sum(heights) + space)
    )
    canvas = Image.new('RGB', size, BACKGROUND)
    at = 0
    for image in images:
        canvas.paste(image, (at, 0) if horizontal else (0, at))
        at += (image.width if horizontal else image.height) + gap
    return canvas


def grid(images: Sequence[Image.Image], columns: int, gap: int = GAP) -> Image.Image:
    """Put pictures in rows of ``columns`` cells on white; all cells have the largest size.

    Raises:
        ValueError: there is no picture.
    """
    if not images:
        raise ValueError('a sheet needs at least one picture')
    columns = min(columns, len(images))
    width, height = max(im.width for im in images), max(im.height for im in images)
    rows = -(-len(images) // columns)
    canvas = Image.new(
        'RGB', (columns * (width + gap) + gap, rows * (height + gap) + gap), BACKGROUND
    )
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        canvas.paste(image, (gap + column * (width + gap), gap + row * (height + gap)))
    return canvas
