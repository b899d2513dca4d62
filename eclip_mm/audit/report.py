"""The report of an audit: one page without requests to anywhere, pictures included."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from eclip_mm.audit.issues import KINDS, Issue
from eclip_mm.datasets.catalogue import Catalogue
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages

#: examples of a kind, and side of their pictures in pixels
NUM_EXAMPLES, _SIDE = 12, 160
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem;
  color: #1a1a1a; background: #fff }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #ddd }
td.n, th.n { text-align: right }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem }
.card { border: 1px solid #ddd; border-radius: .5rem; padding: .75rem; overflow-wrap: anywhere }
.pictures { display: flex; gap: .5rem; flex-wrap: wrap }
figure { margin: 0 } figcaption, .id { font-size: .8rem; color: #555 }
img { max-width: 6.5rem; max-height: 6.5rem; background: #eee }
h3, p { margin: .4rem 0 }
"""


def write_report(
    path: Path,
    issues: Sequence[Issue],
    rows: Catalogue,
    other: Catalogue | None,
    num_fixes: int,
    doubts: Sequence[str] = (),
) -> None:
    """Write the page.

    Args:
        path: the file.
        issues: sorted; the first ones of each kind become examples.
        rows: the catalogue.
        other: that of the evaluation, which ``in_training`` is of.
        num_fixes: number of lines of ``fixes.jsonl``.
        doubts: sentences on what was not flagged, and why.
    """
    flagged = [issue for issue in issues if issue.flagged]
    by_kind = {kind: [i for i in flagged if i.kind == kind] for kind in KINDS}
    shown, shown_other = _Shown(rows), None if other is None else _Shown(other)
    with path.open('w', encoding='utf-8') as file:
        file.write(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>Audit</title><style>{_STYLE}</style></head><body><h1>Audit</h1>'
            f'<p>{len(rows):,} products, {int(rows.image_starts[-1]):,} pictures: '
            f'{len(flagged):,} issues, {num_fixes:,} fixes.</p>'
            + ''.join(f'<p>{html.escape(doubt)}</p>' for doubt in doubts)
            + '<table><tr><th>kind</th><th class="n">issues</th></tr>'
        )
        for kind, found in by_kind.items():
            name = f'<a href="#{kind}">{KINDS[kind]}</a>' if found else KINDS[kind]
            file.write(f'<tr><td>{name}</td><td class="n">{len(found):,}</td></tr>')
        file.write('</table>')
        for kind, found in by_kind.items():
            if not found:
                continue
            file.write(f'<h2 id="{kind}">{_title(KINDS[kind])} ({len(found):,})</h2>')
            if len(found) > NUM_EXAMPLES:
                file.write(f'<p>The first {NUM_EXAMPLES}; issues.parquet has all.</p>')
            file.write('<div class="cards">')
            for issue in found[:NUM_EXAMPLES]:
                own = shown_other if kind == 'in_training' else shown
                file.write(_card(issue, own, shown))
            file.write('</div>')
        file.write('</body></html>\n')


def _title(words: str) -> str:
    return words[0].upper() + words[1:]


def _card(issue: Issue, own: '_Shown', others: '_Shown') -> str:
    pictures = own.figures(issue.product_id, issue.picture)
    if issue.other_product_id is not None:
        pictures += others.figures(issue.other_product_id, issue.other_picture, 'the other')
    elif issue.other_picture is not None:
        pictures += own.figures(issue.product_id, issue.other_picture, 'fits')
    fix = f'<p>Fix: {issue.fix}</p>' if issue.fix else ''
    return (
        f'<div class="card"><div class="pictures">{pictures}</div>'
        f'<h3>{html.escape(own.title(issue.product_id))}</h3>'
        f'<p class="id">{html.escape(issue.product_id)}'
        + (f', picture {issue.picture}' if issue.picture is not None else '')
        + f'</p><p>{html.escape(issue.evidence)}</p>{fix}</div>'
    )


class _Shown:
    """Titles and small pictures of a catalogue."""

    def __init__(self, rows: Catalogue) -> None:
        self._rows = rows
        self._place = {id_: n for n, id_ in enumerate(rows.product_ids)}
        self._load = LoadProductImages(draft_size=_SIDE)

    def title(self, product_id: str) -> str:
        text = self._rows.load(self._place[product_id], [], boxes=False)['text']
        return text if len(text) <= 80 else text[:79] + '…'

    def figures(self, product_id: str, number: int | None, caption: str = '') -> str:
        """One picture, or the first two of a product."""
        place = self._place[product_id]
        count = self._rows.num_images(place)
        numbers = range(min(2, count)) if number is None else [number]
        found = ''
        for chosen in numbers:
            row = self._rows.load(place, [chosen], boxes=False)
            try:
                [image] = self._load({**row, 'image_records': row['images']})['images']
            except ImageDecodeError:
                found += '<figure><figcaption>cannot be read</figcaption></figure>'
                continue
            image.thumbnail((_SIDE, _SIDE))
            content = io.BytesIO()
            image.save(content, 'JPEG', quality=80)
            data = base64.b64encode(content.getvalue()).decode()
            label = ', '.join(part for part in (caption, f'picture {chosen}') if part)
            found += (
                f'<figure><img alt="{html.escape(label)}" src="data:image/jpeg;base64,{data}">'
                f'<figcaption>{html.escape(label)}</figcaption></figure>'
            )
        return found
