"""The text of a product from several columns: templates, and weights that share out the words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from eclip_mm.datasets.converters.feed.rows import FeedRow, as_text
from eclip_mm.datasets.storage.schema import CatalogueError

ALL_VALUES = '*'


@dataclass(frozen=True)
class TextPart:
    """One part of the text of a product.

    Attributes:
        template: words and columns in braces, such as ``{brand}, made of {material*}``. A column
            is filled with its first value among the rows of the product, with a star by all its
            different values. A column without value vanishes with the words before it.
        weight: share of the words where the text is too long; see :func:`share_words`.
    """

    template: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.weight, (int, float)) or self.weight < 0:
            raise CatalogueError(
                f'text {self.template!r}: the weight is {self.weight!r}; give a number from 0 on'
            )
        if not self.columns:
            raise CatalogueError(
                f'text {self.template!r}: names no column; write columns in braces, such as '
                "'{title}'"
            )

    @property
    def pieces(self) -> list[tuple[str, str | None]]:
        """(words before, column) in their order; the column of the words at the end is None."""
        try:
            found = list(Formatter().parse(self.template))
        except ValueError as error:
            raise CatalogueError(f'text {self.template!r}: {error}') from error
        # a column may be called 'Meta: colour' or 'New!r', which the parser takes apart
        return [
            (words, None if name is None else name + (f'!{r}' if r else '') + (s and f':{s}'))
            for words, name, s, r in found
        ]

    @property
    def columns(self) -> list[str]:
        """The columns that it names, without stars."""
        names = [name.removesuffix(ALL_VALUES) for _, name in self.pieces if name]
        return names

    @property
    def is_column(self) -> bool:
        """Whether it is a single column as it stands, such as the title."""
        return self.template == '{' + self.columns[0] + '}'

    def fill(self, rows: Sequence[FeedRow]) -> str:
        """The part for a product, '' if none of its columns has a value.

        Args:
            rows: rows of the product.
        """
        text, filled = '', False
        for words, name in self.pieces:
            if name is None:
                text += words
                continue
            found = values_of(rows, name.removesuffix(ALL_VALUES))
            if found:
                chosen = found if name.endswith(ALL_VALUES) else found[:1]
                text += (words if filled else words.lstrip(' ,;:.-/|')) + ', '.join(chosen)
                filled = True
        return ' '.join(text.split()) if filled else ''


def values_of(rows: Sequence[FeedRow], column: str) -> list[str]:
    """The different values of a column as words, in their order."""
    found: dict[str, None] = {}
    for row in rows:
        value = row.values.get(column)
        if value is not None:
            for item in value if isinstance(value, list) else [value]:
                found.setdefault(as_text(item))
    return [text for text in found if text]


def make_text(
    rows: Sequence[FeedRow], parts: Sequence[TextPart], max_words: int | None = None
) -> str:
    """The text of a product.

    Args:
        rows: rows of the product.
        parts: parts of the text, in their order.
        max_words: longest text; None for any length.
    """
    filled = [(part.fill(rows), part.weight) for part in parts]
    filled = [(text, weight) for text, weight in filled if text]
    if max_words is not None:
        filled = share_words(filled, max_words)
    text = ''
    for part, _ in filled:
        if text:
            text += ' ' if text[-1] in '.!?:;' else '. '
        text += part
    return text


def share_words(parts: Sequence[tuple[str, float]], max_words: int) -> list[tuple[str, float]]:
    """Cut parts of a text so that together they have ``max_words`` words at most.

    Each part may have its share by weight. What a part does not need goes to the others, so
    nothing is cut before all words are used; a part of weight 0 gets what is left over.

    Args:
        parts: (text, weight) of each part.
        max_words: words of all parts together.

    Returns:
        The parts that have a word left, cut at their ends.
    """
    words = [text.split() for text, _ in parts]
    room = [0] * len(parts)
    left = max_words
    for weights in ([weight for _, weight in parts], [float(w == 0) for _, w in parts]):
        open_parts = [i for i, w in enumerate(weights) if w > 0]
        while left > 0 and open_parts:
            total = sum(weights[i] for i in open_parts)
            given = {i: int(left * weights[i] / total) for i in open_parts}
            if not any(given.values()):  # fewer words than parts: the first ones get them
                given = {i: int(k < left) for k, i in enumerate(open_parts)}
            for i, number in given.items():
                used = min(number, len(words[i]) - room[i])
                room[i] += used
                left -= used
            open_parts = [i for i in open_parts if room[i] < len(words[i])]
    return [
        (text if room[i] >= len(words[i]) else ' '.join(words[i][: room[i]]), weight)
        for i, (text, weight) in enumerate(parts)
        if room[i]
    ]


def as_parts(entries: object, where: str) -> list[TextPart]:
    """Text parts from a mapping file.

    Args:
        entries: a column or template, a mapping ``{template, weight}``, or a list of these.
        where: for messages.

    Raises:
        CatalogueError: it is none of these.
    """
    parts = []
    for entry in entries if isinstance(entries, list) else [entries]:
        if isinstance(entry, str):
            entry = dict(template=entry)
        if not isinstance(entry, Mapping) or not isinstance(entry.get('template'), str):
            raise CatalogueError(
                f"{where}: an entry of 'text' is {entry!r}; write a template such as "
                "'{title}', or a mapping with 'template' and 'weight'"
            )
        unknown = set(entry) - {'template', 'weight'}
        if unknown:
            raise CatalogueError(
                f"{where}: an entry of 'text' has the unknown key {min(unknown)!r}; the keys are "
                "'template' and 'weight'"
            )
        template = entry['template']
        parts.append(
            TextPart(template if '{' in template else f'{{{template}}}', entry.get('weight', 1.0))
        )
    return parts
