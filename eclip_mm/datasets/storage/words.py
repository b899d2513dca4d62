"""Whether a text says anything: characters that can be seen, and those that make words."""

import unicodedata

# Letters by their category, but drawn as nothing: fillers of Hangul, the empty pattern of Braille.
_FILLERS = '\u115f\u1160\u3164\uffa0\u2800'
# Separators, controls and formats (zero-width space, BOM, ...), halves of surrogate pairs, and
# marks, which are seen only on another character.
_UNSEEN = ('Z', 'Cc', 'Cf', 'Cs', 'M')
#: One character that is seen, for Arrow's regular expressions.
VISIBLE = rf'[^\s\pC\pZ\pM{_FILLERS}]'


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return not any(map(_is_seen, text))


def has_word(text: str) -> bool:
    """Whether a text has a letter or digit of any script."""
    return any(unicodedata.category(c)[0] in 'LN' and c not in _FILLERS for c in text)


def is_unicode(text: str) -> bool:
    """Whether a text can be written: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def without_lone_surrogates(text: str) -> str:
    """A text with U+FFFD for each half of a surrogate pair, as where an emoji was cut in two."""
    if is_unicode(text):
        return text
    return text.encode('utf-16-le', 'surrogatepass').decode('utf-16-le', 'replace')


def _is_seen(character: str) -> bool:
    return not unicodedata.category(character).startswith(_UNSEEN) and character not in _FILLERS
