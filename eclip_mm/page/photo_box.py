"""The photo that a person searches with, and the box on it."""

from math import isfinite

from PIL import Image, ImageDraw

from eclip_mm.index import check_box, read_photo
from eclip_mm.visualization.canvas import ORANGE, draw_frame

#: longest side of a picture that is shown, in pixels
SHOWN_SIDE = 640


def fitted(picture: Image.Image) -> Image.Image:
    """A copy of a picture that is at most ``SHOWN_SIDE`` wide and high."""
    copy = picture.copy()
    copy.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return copy


def framed(photo: bytes, box: tuple[float, ...] | None) -> Image.Image:
    """A photo as the page shows it, with the box that is searched for."""
    picture = read_photo(photo)
    shown = fitted(picture)
    if box is not None:
        scale = shown.width / picture.width
        frame = [value * scale for value in check_box(box, picture.size)]
        draw_frame(ImageDraw.Draw(shown), frame, ORANGE, width=3)
    return shown


def parse_box(text: str) -> tuple[float, ...] | None:
    """The box that a person has typed: four numbers, or nothing for the whole photo.

    Raises:
        ValueError: the text is something else; the message is a sentence.
    """
    if not text.strip():
        return None
    try:
        box = tuple(float(part) for part in text.replace(',', ' ').split())
    except ValueError:
        box = ()
    if len(box) != 4 or not all(map(isfinite, box)):
        raise ValueError('A box is four numbers: left, top, right and bottom, in pixels.')
    return box


def with_corner(photo: bytes, text: str, click: tuple[float, float]) -> str:
    """The text of a box after a click: two clicks are opposite corners, a third begins again.

    Args:
        photo: bytes of a picture file.
        text: of the box until now.
        click: x and y in pixels of the picture that :func:`framed` gives.
    """
    numbers = text.replace(',', ' ').split()
    picture = read_photo(photo)
    scale = picture.width / fitted(picture).width
    clicked = [f'{value * scale:.0f}' for value in click]
    return ' '.join((numbers if len(numbers) == 2 else []) + clicked)
