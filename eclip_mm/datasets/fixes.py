"""Fixes of a catalogue that its readers apply, without a copy of it.

A file of fixes has a JSON object a line: ``product_id``, ``fix``, and what the fix needs. Blank
lines and other keys (such as a reason) are allowed.

- ``{"product_id": "a", "fix": "exclude"}``: leave the product out.
- ``{"product_id": "a", "picture": 2, "fix": "exclude"}``: leave out its third picture.
- ``{"product_id": "a", "picture": 2, "fix": "main"}``: make it the first one.
- ``{"product_id": "b", "fix": "merge", "into": "a"}``: samples of b are samples of a.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

KINDS = ('exclude', 'main', 'merge')


class FixError(ValueError):
    """A file of fixes that cannot be used; the message names file and line."""


class Fixes:
    """What to leave out, to put first and to merge.

    Pictures are named by their places in the stored row, from 0.

    Args:
        path: the file; None for no fixes.

    Attributes:
        excluded: ids of products that are left out.
        sha256: of the file, '' without one.

    Raises:
        FixError: the file cannot be read, or its lines contradict one another.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path
        self.excluded: set[str] = set()
        self.sha256 = ''
        self._pictures: dict[str, set[int]] = {}
        self._main: dict[str, int] = {}
        self._into: dict[str, str] = {}
        if path is None:
            return
        try:
            content = Path(path).read_bytes()
            text = content.decode('utf-8-sig')
        except (OSError, UnicodeDecodeError) as error:
            raise FixError(f'{path}: the file of fixes cannot be read: {error}') from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        # not `splitlines`, for which U+2028 inside a title ends a line
        for number, line in enumerate(text.split('\n'), 1):
            if line.strip():
                self._add(line, f'{path}, line {number}')
        self._resolve()

    def __bool__(self) -> bool:
        return bool(self.excluded or self._pictures or self._main or self._into)

    def __str__(self) -> str:
        return f'{self.path} ({self.sha256[:12]})' if self else ''

    def named(self) -> set[str]:
        """Ids of all products that a fix is of."""
        return self.excluded | {*self._pictures, *self._main, *self._into}

    def product(self, product_id: str) -> str:
        """The product that samples of a product belong to."""
        return self._into.get(product_id, product_id)

    def pictures(self, product_id: str, numbers: Sequence[int]) -> Sequence[int]:
        """The pictures to use, the main one first.

        Args:
            product_id: as it is stored.
            numbers: places of its pictures.
        """
        if product_id in self.excluded:
            return ()
        left = self._pictures.get(product_id)
        if left is not None:
            numbers = [number for number in numbers if number not in left]
        main = self._main.get(product_id)
        if main is not None and main in numbers:
            numbers = [main, *(number for number in numbers if number != main)]
        return numbers

    def unknown(self, product_ids: Collection[str]) -> str:
        """A sentence on fixes of products that are not there; '' if there are none."""
        missing = sorted(self.named() - set(product_ids))
        if not missing:
            return ''
        shown = ', '.join(map(repr, missing[:3])) + (', ...' if len(missing) > 3 else '')
        return f'{self.path}: {len(missing)} of its products are not in the catalogue: {shown}'

    def _add(self, line: str, where: str) -> None:
        try:
            fix = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FixError(f'{where} is not JSON: {error}') from error
        if not isinstance(fix, dict) or not isinstance(fix.get('product_id'), str):
            raise FixError(f'{where}: write an object with product_id, a string, and fix')
        kind, product_id, picture = fix.get('fix'), fix['product_id'], fix.get('picture')
        if kind not in KINDS:
            raise FixError(f'{where}: fix is {kind!r}, and not one of {", ".join(KINDS)}')
        is_place = isinstance(picture, int) and not isinstance(picture, bool) and picture >= 0
        if not is_place and (kind == 'main' or picture is not None):
            raise FixError(f'{where}: picture is {picture!r}, and not a place from 0')
        if kind == 'merge':
            into = fix.get('into')
            if not isinstance(into, str) or into == product_id:
                raise FixError(f'{where}: into is {into!r}, and not the id of another product')
            if self._into.setdefault(product_id, into) != into:
                raise FixError(
                    f'{where}: {product_id!r} is merged into {self._into[product_id]!r} as well'
                )
        elif kind == 'main':
            if self._main.setdefault(product_id, picture) != picture:
                raise FixError(
                    f'{where}: {product_id!r} has another main picture, {self._main[product_id]}'
                )
        elif picture is None:
            self.excluded.add(product_id)
        else:
            self._pictures.setdefault(product_id, set()).add(picture)

    def _resolve(self) -> None:
        """Follow chains of merges to their ends."""
        for product_id in list(self._into):
            seen, into = {product_id}, self._into[product_id]
            while into in self._into:
                if into in seen:
                    raise FixError(f'{self.path}: merges of {product_id!r} go round in a circle')
                seen.add(into)
                into = self._into[into]
            self._into[product_id] = into
