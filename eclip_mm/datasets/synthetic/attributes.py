"""Attributes of a generated product, and the title that they give it."""

import math
from dataclasses import dataclass

import numpy as np

#: Noun (also the category) -> place of the brand mark, in the shape's own coordinates (u right, v
#: down; the silhouette spans about [-1, 1]).
SHAPES = {
    'ball': (0.0, 0.0),
    'box': (0.0, 0.0),
    'star': (0.0, 0.05),
    'ring': (0.0, -0.68),
    'cross': (0.0, 0.0),
    'cone': (0.0, 0.4),
    'heart': (0.0, -0.1),
    'moon': (-0.55, 0.0),
    'mug': (-0.2, 0.0),
    'bottle': (0.0, 0.4),
    'shirt': (0.0, 0.1),
    'tile': (0.0, 0.0),
}

#: Those that differ most come first, here and among the shapes.
COLOURS = {
    'red': (214, 40, 40),
    'yellow': (250, 215, 50),
    'green': (30, 130, 60),
    'blue': (40, 85, 215),
    'white': (245, 245, 245),
    'black': (30, 30, 35),
    'pink': (245, 130, 190),
    'orange': (245, 130, 32),
    'teal': (30, 175, 170),
    'purple': (125, 50, 170),
    'brown': (125, 75, 40),
    'lime': (150, 215, 45),
}

PATTERNS = ('plain', 'striped', 'dotted', 'checked', 'banded', 'halved', 'diagonal')

MARKS = (
    'dot',
    'hoop',
    'bar',
    'pole',
    'plus',
    'saltire',
    'triangle',
    'square',
    'diamond',
    'frame',
    'arc',
    'chevron',
)

_OPENERS = ('', '', 'new ', 'genuine ', 'premium ', 'classic ', 'best price ', 'original ')
_CLOSERS = (
    '',
    '',
    ', gift idea',
    ', fast delivery',
    ', limited edition',
    ', for home and office',
    ', 2 year warranty',
    ', free returns',
)

_SHAPE_NAMES = tuple(SHAPES)
_COLOUR_NAMES = tuple(COLOURS)
#: Attributes in which products may differ, besides shape and colour.
OPTIONAL_ATTRIBUTES = ('pattern', 'mark')


def _radix(attributes: tuple[str, ...], num_shapes: int, num_colours: int) -> tuple[int, ...]:
    """Mixed radix of an attribute combination.

    The digits are shape, colour, pattern with its second colour (plain has none), mark with its
    colour (0 is no mark).
    """
    others = len(COLOURS) - 1
    return (
        num_shapes,
        num_colours,
        1 + (len(PATTERNS) - 1) * others if 'pattern' in attributes else 1,
        1 + len(MARKS) * others if 'mark' in attributes else 1,
    )


def num_combinations(
    attributes: tuple[str, ...] = OPTIONAL_ATTRIBUTES,
    num_shapes: int = len(SHAPES),
    num_colours: int = len(COLOURS),
) -> int:
    """Number of different products: 1.3 million with everything in use."""
    return math.prod(_radix(attributes, num_shapes, num_colours))


@dataclass(frozen=True)
class ProductSpec:
    """One generated product: its look and the title of its page."""

    product_id: str
    shape: str
    colour: str
    pattern: str
    second_colour: str | None
    mark: str | None
    mark_colour: str | None
    title: str

    @property
    def category(self) -> str:
        return self.shape


def _other_colour(colour: int, offset: int) -> str:
    """The ``offset``-th colour that is not ``colour`` (offset in 0..10)."""
    return _COLOUR_NAMES[offset if offset < colour else offset + 1]


def build_spec(
    product_id: str,
    combination: int,
    rng: np.random.Generator,
    attributes: tuple[str, ...] = OPTIONAL_ATTRIBUTES,
    num_shapes: int = len(SHAPES),
    num_colours: int = len(COLOURS),
) -> ProductSpec:
    """The product of one attribute combination.

    Args:
        product_id: Id of the product.
        combination: Index below :func:`num_combinations`.
        rng: Draws the filler words of the title.
        attributes: Optional attributes in use.
        num_shapes, num_colours: Number of each in use, from the start of the lists.
    """
    digits = []
    for base in _radix(attributes, num_shapes, num_colours):
        combination, digit = divmod(combination, base)
        digits.append(digit)
    shape, colour, pattern, mark = digits
    pattern_name, second = 'plain', None
    if pattern:
        kind, offset = divmod(pattern - 1, len(COLOURS) - 1)
        pattern_name, second = PATTERNS[1 + kind], _other_colour(colour, offset)
    mark_name = mark_colour = None
    if mark:
        kind, offset = divmod(mark - 1, len(COLOURS) - 1)
        mark_name, mark_colour = MARKS[kind], _other_colour(colour, offset)

    words = _COLOUR_NAMES[colour]
    if second:
        words = f'{words} and {second} {pattern_name}'
    noun = _SHAPE_NAMES[shape]
    title = f'{_OPENERS[rng.integers(len(_OPENERS))]}{words} {noun}'
    if mark_name:
        title += f' with {mark_colour} {mark_name} logo'
    title += _CLOSERS[rng.integers(len(_CLOSERS))]
    return ProductSpec(
        product_id,
        noun,
        _COLOUR_NAMES[colour],
        pattern_name,
        second,
        mark_name,
        mark_colour,
        title,
    )
