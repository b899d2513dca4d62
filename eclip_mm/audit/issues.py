"""What an audit finds: one row an issue, and the fixes that follow from them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import pyarrow as pa

#: kind -> what it is
KINDS = {
    'title': 'a title that does not fit the pictures',
    'odd_picture': 'a picture of something else',
    'wrong_main': 'a main picture of something else, and another picture that fits',
    'duplicate_product': 'one product under two ids',
    'shared_picture': 'one picture under several ids: a placeholder, a size chart, a banner',
    'text_only': 'a picture of text',
    'near_duplicate': 'a picture that the product has twice',
    'in_training': 'an evaluation picture that is in training',
    'broken': 'a picture that cannot be read',
    'tiny': 'a picture that is too small',
    'rotated': 'a picture that is stored turned, with a tag that turns it back',
    'markup': 'a title with markup or invisible characters',
}


@dataclass
class Issue:
    """One row of ``issues.parquet``.

    Attributes:
        kind: a key of :data:`KINDS`.
        product_id: the product.
        picture: place of the picture in the stored row; None for the product.
        other_product_id, other_picture: the other one of a pair.
        label_quality: in [0, 1], low where the label is bad, as in cleanlab.
        p_value: see :func:`rank_p_values`; None for kinds that are certain.
        flagged: whether it is reported, or only listed for those who look further.
        fix: ``exclude``, ``main`` or ``merge``; None where nothing is to be done by itself.
        evidence: a sentence.
    """

    kind: str
    product_id: str
    picture: int | None = None
    other_product_id: str | None = None
    other_picture: int | None = None
    label_quality: float = 0.0
    p_value: float | None = None
    flagged: bool = True
    fix: str | None = None
    evidence: str = ''


SCHEMA = pa.schema(
    [
        ('kind', pa.string()),
        ('product_id', pa.string()),
        ('picture', pa.int32()),
        ('other_product_id', pa.string()),
        ('other_picture', pa.int32()),
        ('label_quality', pa.float64()),
        ('p_value', pa.float64()),
        ('flagged', pa.bool_()),
        ('fix', pa.string()),
        ('evidence', pa.string()),
    ]
)


def sort_issues(issues: Iterable[Issue]) -> list[Issue]:
    """By kind, the worst first."""
    place = {kind: n for n, kind in enumerate(KINDS)}

    def key(issue: Issue) -> tuple:
        number = -1 if issue.picture is None else issue.picture
        worst_first = (not issue.flagged, issue.label_quality)
        return place[issue.kind], *worst_first, issue.product_id, number

    return sorted(issues, key=key)


def issue_table(issues: Sequence[Issue]) -> pa.Table:
    """The issues as columns of :data:`SCHEMA`."""
    names = [field.name for field in fields(Issue)]
    rows = [asdict(issue) for issue in issues]
    return pa.table({name: [row[name] for row in rows] for name in names}, schema=SCHEMA)


def fix_lines(issues: Sequence[Issue], num_pictures: Mapping[str, int]) -> list[dict]:
    """The lines of a file of fixes (:mod:`~eclip_mm.datasets.fixes`).

    No product loses its last picture: where all are to go, the main one stays, and the issue of
    it says so.

    Args:
        issues: in the order of :func:`sort_issues`.
        num_pictures: product -> number of its pictures that can be read.
    """
    lines, gone = [], set()
    left_out: dict[str, dict[int, Issue]] = defaultdict(dict)
    for issue in issues:
        reason = dict(reason=f'{issue.kind}: {issue.evidence}')
        if issue.fix == 'merge' and issue.product_id not in gone:
            gone.add(issue.product_id)
            lines.append(
                dict(
                    product_id=issue.product_id,
                    fix='merge',
                    into=issue.other_product_id,
                    **reason,
                )
            )
        elif issue.fix == 'main':
            lines.append(
                dict(
                    product_id=issue.product_id, fix='main', picture=issue.other_picture, **reason
                )
            )
        elif issue.fix == 'exclude' and issue.picture is None:
            lines.append(dict(product_id=issue.product_id, fix='exclude', **reason))
        elif issue.fix == 'exclude':
            left_out[issue.product_id].setdefault(issue.picture, issue)
    for product_id, pictures in left_out.items():
        if len(pictures) >= num_pictures.get(product_id, 1):
            kept = pictures.pop(min(pictures))
            kept.fix = None
            kept.evidence += '; it stays, since the product has no other picture'
        lines += [
            dict(
                product_id=product_id,
                fix='exclude',
                picture=number,
                reason=f'{issue.kind}: {issue.evidence}',
            )
            for number, issue in sorted(pictures.items())
        ]
    return lines
