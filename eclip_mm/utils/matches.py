"""The name that was probably meant."""

import difflib


def close_match(key: str, known) -> str | None:
    """The known name that ``key`` is probably a misspelling of; None if there is none."""
    spellings = {name.lower(): name for name in map(str, known)}
    matches = difflib.get_close_matches(key.lower(), spellings, n=1, cutoff=0.8)
    return spellings[matches[0]] if matches else None
