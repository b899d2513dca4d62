"""Texts of shop systems without what is no text: HTML, invisible characters, endless titles."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from eclip_mm.datasets.storage.report import list_problems
from eclip_mm.datasets.storage.words import has_word, without_lone_surrogates
from eclip_mm.registry import TRANSFORMS

#: Characters of a text that are kept: more than any text encoder reads.
MAX_CHARS = 2000

# Elements of HTML, so that "size <M>" and "a < b" stay.
_ELEMENTS = (
    'a|abbr|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|col|colgroup|'
    'dd|del|details|div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|'
    'iframe|img|input|ins|label|li|link|main|mark|meta|nav|noscript|ol|option|p|picture|pre|q|s|'
    'section|select|small|source|span|strike|strong|sub|summary|sup|svg|table|tbody|td|textarea|'
    'tfoot|th|thead|title|tr|tt|u|ul|video|wbr'
)
# Attributes; quoted values may hold ">".
_ATTRIBUTES = r"""(?:\s(?:"[^"<]*"|'[^'<]*'|[^<>"'])*|\s[^<>]*)?/?"""
_TAG = re.compile(rf'</?(?:{_ELEMENTS}){_ATTRIBUTES}>', re.IGNORECASE)
# These do not separate words: "H<sub>2</sub>O".
_INLINE = re.compile(
    r'</?(?:a|abbr|b|big|cite|code|del|em|font|i|ins|mark|q|s|small|span|strike|strong|sub|sup|tt|'
    rf'u|wbr){_ATTRIBUTES}>',
    re.IGNORECASE,
)
# What is not closed reaches to the end, as in browsers.
_DROPPED = re.compile(
    r'<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<!\[CDATA\[|\]\]>|'
    r'<!doctype[^>]*>',
    re.IGNORECASE | re.DOTALL,
)
# With its semicolon only: "black&white&region" holds no entity.
_ENTITY = re.compile(r'&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});')
# Invisible, but part of words or emoji where they stand between two characters.
_JOINERS = '\u200c\u200d'


def clean_text(text: str, max_chars: int | None = MAX_CHARS) -> tuple[str, list[str]]:
    """A text as a customer reads it.

    In this order: HTML comments, scripts, styles and tags are removed and entities decoded, also
    where they were escaped twice; invisible characters (zero-width spaces, soft hyphens, controls,
    halves of surrogate pairs) are removed or become U+FFFD; white space becomes single spaces; the
    text is brought to Unicode form NFC and cut after the last word that fits.

    Args:
        text: text of a product.
        max_chars: characters to keep; None keeps all.

    Returns:
        The text, and what was changed: ``HTML``, ``invisible characters``, ``length``. White space
        and Unicode form are not mentioned. A text without a word has ``no word`` as well.
    """
    changes = []
    without_html = _without_html(text)
    if without_html != text:
        changes.append('HTML')
    visible = _without_invisible(without_lone_surrogates(without_html))
    if visible != without_html:
        changes.append('invisible characters')
    cleaned = unicodedata.normalize('NFC', ' '.join(visible.split()))
    if max_chars is not None and len(cleaned) > max_chars:
        changes.append('length')
        cleaned = _cut(cleaned, max_chars)
    if not has_word(cleaned):
        changes.append('no word')
    return cleaned, changes


def _without_html(text: str) -> str:
    for _ in range(3):  # "&amp;lt;br&amp;gt;"
        before = text
        if '<' in text:
            text = _TAG.sub(' ', _INLINE.sub('', _DROPPED.sub(' ', text)))
        if '&' in text:
            text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
        if text == before:
            break
    return text


def _without_invisible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    kept = [
        c
        for c in text
        if c.isspace() or c in _JOINERS or unicodedata.category(c) not in ('Cc', 'Cf', 'Cs')
    ]
    return ''.join(
        c
        for i, c in enumerate(kept)
        if c not in _JOINERS or (0 < i < len(kept) - 1 and not kept[i - 1].isspace())
    )


def _cut(text: str, max_chars: int) -> str:
    head = text[: max_chars + 1].rpartition(' ')[0]
    # Chinese has no spaces, and an endless word is cut as well
    return head if len(head) > max_chars // 2 else text[:max_chars]


@TRANSFORMS.register_module()
class CleanText:
    """Clean ``text`` with :func:`clean_text`.

    The converters clean texts when a catalogue is written. This is for catalogues that others
    wrote; it comes before ``TokenizeText``.

    Args:
        max_chars: characters to keep; None keeps all.
    """

    def __init__(self, max_chars: int | None = MAX_CHARS) -> None:
        self.max_chars = max_chars

    def __call__(self, results: dict) -> dict:
        results['text'] = clean_text(results['text'], self.max_chars)[0]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(max_chars={self.max_chars})'


@dataclass
class TextReport:
    """What :func:`clean_rows` changed.

    Attributes:
        counts: number of texts per change of :func:`clean_text`.
        first: product whose text was the first to be changed so.
        left_out: products left out because their text has no word.
    """

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, product_id: str, changes: Iterable[str]) -> None:
        """Count the changes of a text."""
        for change in changes:
            self.counts[change] = self.counts.get(change, 0) + 1
            self.first.setdefault(change, product_id)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        """Lines to be appended to a report; empty where nothing was changed."""
        text = ''
        changes = [
            f'{number} of {change} (first: {self.first[change]!r})'
            for change, number in self.counts.items()
            if change != 'no word'
        ]
        if changes:
            text += f'\ntexts cleaned: {", ".join(changes)}'
        if self.left_out:
            text += f'\n{len(self.left_out)} products left out, whose text has no word:'
            text += list_problems(self.left_out)
        return text


def clean_rows(rows: Iterable[Mapping], report: TextReport) -> Iterator[dict]:
    """Rows with clean text and category; one whose text has no word is left out.

    Args:
        rows: catalogue rows.
        report: report that receives what was changed.
    """
    for row in rows:
        text, changes = clean_text(row['text'])
        report.add(row['product_id'], changes)
        if 'no word' in changes:
            report.left_out.append(f'{row["product_id"]!r}: {row["text"][:60]!r}')
            continue
        category = row.get('category')
        if category is not None:
            category = clean_text(category)[0] or None
        yield {**row, 'text': text, 'category': category}
