"""Retrieval sheets: a row for each query and its results, with frames around right ones."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from eclip_mm.visualization.canvas import (
    BACKGROUND,
    FAINT_INK,
    GREEN,
    INK,
    WHITE,
    draw_frame,
    stack,
    text_block,
    to_pil,
)

FAINT_FRAME = (205, 205, 205)


def _cell(item: dict, size: int, colour, width: int, font: str | None) -> Image.Image:
    image = to_pil(item['image'])
    scale = (size - 12) / max(image.size)
    small = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
        Image.Resampling.LANCZOS,
    )
    cell = Image.new('RGB', (size, size), BACKGROUND)
    cell.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    if item.get('right'):
        draw = ImageDraw.Draw(cell)
        draw_frame(draw, (1, 1, size - 1, size - 1), colour, width)
        draw.rectangle([size - 22, 1, size - 2, 21], fill=colour, outline=INK)
        draw.line([(size - 18, 11), (size - 13, 16), (size - 6, 6)], fill=WHITE, width=3)
    else:
        ImageDraw.Draw(cell).rectangle([1, 1, size - 2, size - 2], outline=colour)
    return stack(
        [cell, text_block(item.get('title', ''), size, 11, 2, FAINT_INK, font, num_lines=2)]
    )


def retrieval_sheet(
    queries: Sequence[dict],
    num_results: int = 10,
    size: int = 112,
    title: str = '',
    note: str = '',
    font: str | None = None,
) -> Image.Image:
    """Draw query pictures, each with its first results in rank order.

    Args:
        queries: each ``{'image', 'title' (optional), 'prompt' (optional),
            'results': [{'image', 'right': bool, 'title' (optional)}, ...]}``,
            best first; pictures as
            :func:`~eclip_mm.visualization.canvas.to_pil` takes them. A prompt
            that belongs to a picture is written above its row. A text query
            has ``image=None``, and its title is set in large type.
        num_results: number of results shown per query.
        size: cell size in pixels.
        title: heading.
        note: further text for the line below the sheet.
        font: font file, needed for Chinese.

    Returns:
        RGB; right results have a thick green frame and a tick.

    Raises:
        ValueError: ``queries`` is empty.
    """
    if not queries:
        raise ValueError('a sheet needs at least one query')
    rows = []
    for query in queries:
        if query.get('image') is None:
            words = Image.new('RGB', (size, size), BACKGROUND)
            words.paste(text_block(f'“{query.get("title", "")}”', size, 14, 5, INK, font), (0, 2))
            head = stack([words, text_block('', size, 11, 2, num_lines=2)])
        else:
            head = _cell(query, size, INK, 1, font)
        arrow = Image.new('RGB', (18, head.height), BACKGROUND)
        ImageDraw.Draw(arrow).polygon(
            [(4, size // 2 - 6), (14, size // 2), (4, size // 2 + 6)], fill=FAINT_INK
        )
        cells = [
            _cell(
                item,
                size,
                GREEN if item['right'] else FAINT_FRAME,
                4 if item['right'] else 1,
                font,
            )
            for item in query['results'][:num_results]
        ]
        row = stack([head, arrow, *cells], horizontal=True, gap=4)
        if query.get('prompt'):
            row = stack([text_block(f'“{query["prompt"]}”', row.width, 13, 1, INK, font), row])
        rows.append(row)
    sheet = stack(rows, gap=6)
    parts = [text_block(title, sheet.width, 20, 2, INK, font)] if title else []
    parts.append(sheet)
    legend = (
        f'left: query; then its first {num_results} results in order, right ones green with a tick'
    )
    if note:
        legend += f'; {note}'
    parts.append(text_block(legend, sheet.width, 12, 2, FAINT_INK, font))
    inner = stack(parts, gap=4)
    canvas = Image.new('RGB', (inner.width + 20, inner.height + 20), BACKGROUND)
    canvas.paste(inner, (10, 10))
    return canvas
