"""The report on rows and pictures that were left out when a catalogue was read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


def list_problems(problems: Sequence[str], num_problems: int | None = None) -> str:
    """The first 20 problems as lines to be appended to a text, and how many more there are.

    Args:
        problems: descriptions of problems.
        num_problems: number of all problems. Defaults to the number of descriptions.
    """
    shown = problems[:20]
    more = (len(problems) if num_problems is None else num_problems) - len(shown)
    lines = [f'\n  - {problem}' for problem in shown]
    return ''.join(lines) + (f'\n  - and {more} more' if more > 0 else '')


@dataclass
class CatalogueReport:
    """Which rows and pictures were left out when a catalogue was read, and why.

    Attributes:
        num_rows: rows found in the files.
        num_used: rows that can be used.
        num_skipped: rows that were left out.
        num_missing_images: pictures that were left out of used rows because their file does not
            exist, or, in a conversion, of any row because they cannot be decoded.
        num_fixed: rows that a file of fixes leaves out.
        problems: 'file, row N: reason' for each row or picture that was left out, up to
            ``max_problems``. Rows count from 1 (in JSON Lines, the lines do). Of rows whose fault
            is of one kind, the first is named.
        alike: how many rows have a fault of each such kind.
    """

    num_rows: int = 0
    num_used: int = 0
    num_skipped: int = 0
    num_missing_images: int = 0
    num_fixed: int = 0
    problems: list[str] = field(default_factory=list)
    max_problems: int = 1000
    alike: Counter[str] = field(default_factory=Counter)
    _kinds: dict[str, str] = field(default_factory=dict)

    def add(self, problem: str, kind: str | None = None) -> None:
        """Name one row or picture that was left out.

        Args:
            problem: description of the fault.
            kind: what rows with the same fault share.
        """
        if kind is not None:
            self.alike[kind] += 1
            if self.alike[kind] > 1:
                return
        if len(self.problems) < self.max_problems:
            self.problems.append(problem)
            if kind is not None:
                self._kinds[problem] = kind

    @property
    def is_full(self) -> bool:
        """Whether no further problem will be named."""
        return len(self.problems) >= self.max_problems

    def __bool__(self) -> bool:
        """Whether anything was left out."""
        return bool(self.num_skipped or self.num_missing_images)

    def __str__(self) -> str:
        text = f'{self.num_used} of {self.num_rows} rows can be used'
        if self.num_fixed:
            text += f', {self.num_fixed} are left out by fixes'
        if not self:
            return text
        text += (
            f', {self.num_skipped} skipped; {self.num_missing_images} pictures are '
            'missing or broken'
        )
        problems = [self._with_count(problem) for problem in self.problems]
        repeated = sum(self.alike.values()) - len(self.alike)
        num_problems = self.num_skipped + self.num_missing_images - repeated
        return text + list_problems(problems, num_problems)

    def _with_count(self, problem: str) -> str:
        count = self.alike[self._kinds[problem]] if problem in self._kinds else 1
        return f'{problem} ({count} rows like this one)' if count > 1 else problem
