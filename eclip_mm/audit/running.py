"""An audit from features and catalogue to its folder."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from eclip_mm.audit.counts import picture_issues, title_issues
from eclip_mm.audit.features import AuditFeatures, read_features
from eclip_mm.audit.fit import Fit
from eclip_mm.audit.issues import Issue, fix_lines, issue_table, sort_issues
from eclip_mm.audit.pictures import Picture, read_pictures
from eclip_mm.audit.report import write_report
from eclip_mm.audit.same_pictures import PictureIndex, in_training, same_pictures
from eclip_mm.audit.same_products import same_products, same_titles
from eclip_mm.datasets.catalogue import Catalogue, read_catalogue
from eclip_mm.utils.files import whole_file

Progress = Callable[[str, int, int], None]


@dataclass
class Audit:
    """What an audit has found.

    Attributes:
        issues: sorted by kind, the worst first.
        fixes: lines for the catalogue.
        evaluation_fixes: lines for the catalogue of the evaluation.
        num_products, num_pictures: that were compared.
        doubts: sentences on what was not flagged, and why.
    """

    issues: list[Issue]
    fixes: list[dict]
    evaluation_fixes: list[dict]
    num_products: int
    num_pictures: int
    doubts: list[str]


def run_audit(
    features: str | Path,
    catalogue: str | Path | Sequence[str | Path],
    out: str | Path,
    evaluation: str | Path | Sequence[str | Path] | None = None,
    progress: Progress = lambda what, count, total: None,
) -> Audit:
    """Write ``issues.parquet``, ``fixes.jsonl`` and ``report.html``.

    Args:
        features: folder of ``eclip-mm embed ... --per picture``, of this catalogue.
        catalogue: the catalogue.
        out: folder, made if there is none. Its files are replaced at the end.
        evaluation: catalogue whose pictures should not be in training; its fixes go to
            ``evaluation_fixes.jsonl``.
        progress: called with what is done, how many more of it are, and how many there are.

    Raises:
        CatalogueError, FileNotFoundError, ValueError: features or catalogue cannot be used, or do
            not belong together.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    # files of pictures are not checked, so that numbers of pictures are those of the stored rows
    rows = read_catalogue(catalogue, check_files=False)
    with tempfile.TemporaryDirectory(prefix='.audit-', dir=out) as scratch:
        found = read_features(features, Path(scratch))
        texts = _texts(rows, found, features)
        pictures = _pictures(rows, 'pictures', progress)
        total = 2 * len(found.owner) + len(found.product_ids)
        fit = Fit(found, lambda count: progress('comparisons', count, total))
        index = PictureIndex(pictures)
        groups, alone = list(index.groups()), picture_issues(pictures, rows.product_ids)
        # a picture of products of one title may be there since they are one product, so that it
        # is a placeholder only if they turn out to be several
        titles = same_titles(found, texts)
        one = {found.product_ids[k]: found.product_ids[own[0]] for own in titles for k in own}
        known = _not_the_product(same_pictures(groups, rows.product_ids, one) + alone)
        merges = same_products(found, titles, known)
        one = {issue.product_id: issue.other_product_id for issue in merges}
        issues = _one_issue_a_picture(same_pictures(groups, rows.product_ids, one) + alone)
        issues += fit.issues(_not_the_product(issues)) + merges
    issues += title_issues(rows.texts(), rows.product_ids)
    evaluated, others, other = [], [], None
    if evaluation is not None:
        other = read_catalogue(evaluation, check_files=False)
        others = _pictures(other, 'evaluation pictures', progress)
        evaluated = in_training(index, rows.product_ids, others, other.product_ids)
    audit = Audit(
        issues=sort_issues([*issues, *evaluated]),
        fixes=fix_lines(sort_issues(issues), _readable(pictures, rows)),
        evaluation_fixes=fix_lines(evaluated, _readable(others, other)),
        num_products=len(rows),
        num_pictures=len(pictures),
        doubts=fit.doubts,
    )
    _write(audit, out, rows, other)
    return audit


#: kinds that say why a picture is none of the product, the surest first
_NOT_THE_PRODUCT = ('shared_picture', 'text_only', 'tiny')


def _not_the_product(issues: Sequence[Issue]) -> set[tuple[str, int]]:
    return {(i.product_id, i.picture) for i in issues if i.kind in _NOT_THE_PRODUCT}


def _one_issue_a_picture(issues: list[Issue]) -> list[Issue]:
    """Without issues that follow from a surer one of the same picture.

    A placeholder under many ids may be a picture of text, too.
    """
    known: dict[tuple, str] = {}
    for kind in _NOT_THE_PRODUCT:
        for issue in issues:
            if issue.kind == kind:
                known.setdefault((issue.product_id, issue.picture), kind)
    return [
        issue
        for issue in issues
        if issue.kind not in _NOT_THE_PRODUCT
        or known[issue.product_id, issue.picture] == issue.kind
    ]


def _texts(rows: Catalogue, found: AuditFeatures, features: str | Path) -> list[str]:
    """Title of each product of the features."""
    texts = dict(zip(rows.product_ids, rows.texts(), strict=True))
    missing = [id_ for id_ in found.product_ids if id_ not in texts]
    if missing:
        raise ValueError(
            f'{features} has {len(missing)} products that the catalogue does not have, such as '
            f'{missing[0]!r}: give the catalogue that the features were made from'
        )
    return [texts[id_] for id_ in found.product_ids]


def _pictures(rows: Catalogue, what: str, progress: Progress) -> list[Picture]:
    found, total = [], int(rows.image_starts[-1])
    for pictures in read_pictures(rows):
        found += pictures
        progress(what, len(pictures), total)
    return found


def _readable(pictures: Sequence[Picture], rows: Catalogue | None) -> dict[str, int]:
    """Product -> number of its pictures that can be read."""
    return Counter(rows.product_ids[p.product] for p in pictures if p.error is None)


def _write(audit: Audit, out: Path, rows: Catalogue, other: Catalogue | None) -> None:
    with whole_file(out / 'issues.parquet') as part:
        pq.write_table(issue_table(audit.issues), part)
    for name, lines in (('fixes', audit.fixes), ('evaluation_fixes', audit.evaluation_fixes)):
        if name == 'fixes' or other is not None:
            with whole_file(out / f'{name}.jsonl') as part, part.open('w', encoding='utf-8') as f:
                f.writelines(json.dumps(line, ensure_ascii=False) + '\n' for line in lines)
    with whole_file(out / 'report.html') as part:
        write_report(part, audit.issues, rows, other, len(audit.fixes), audit.doubts)
