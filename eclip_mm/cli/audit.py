"""``eclip-mm audit``: what is wrong in a catalogue, with evidence and a file of fixes."""

from argparse import RawDescriptionHelpFormatter
from collections import Counter

from eclip_mm.cli.inputs import bar
from eclip_mm.utils.command import CommandParser

EXAMPLE = """example:
  eclip-mm embed embed.py my_model my/catalogue.parquet my/features --per picture
  eclip-mm audit my/features my/catalogue.parquet my/audit

OUT gets issues.parquet (all that was found), fixes.jsonl (for `fixes=` of data sets) and
report.html (the worst of each kind, with pictures)."""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = CommandParser(
        prog=name,
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument('features', help='folder of `eclip-mm embed ... --per picture`')
    parser.add_argument('catalogue', nargs='+', help='the catalogue that they were made from')
    parser.add_argument('out', help='folder for the results')
    parser.add_argument(
        '--evaluation', nargs='+', metavar='CATALOGUE', help='pictures that training must not have'
    )
    parser.add_argument('--quiet', action='store_true', help='show no progress bar')
    args = parser.parse_args(arguments)
    from eclip_mm.audit import KINDS, run_audit  # after --help: it imports torch

    bars: dict = {}

    def progress(what: str, count: int, total: int) -> None:
        if what not in bars:
            bars[what] = bar('audit', what, total, args.quiet)
        bars[what].update(count)

    try:
        audit = run_audit(args.features, args.catalogue, args.out, args.evaluation, progress)
    finally:
        for shown in bars.values():
            shown.close()
    found = Counter(issue.kind for issue in audit.issues if issue.flagged)
    print(f'{audit.num_products} products, {audit.num_pictures} pictures')
    for kind, what in KINDS.items():
        if found[kind]:
            print(f'{found[kind]:7} {kind:18} {what}')
    for doubt in audit.doubts:
        print(doubt)
    print(f'{len(audit.fixes)} fixes; {args.out}/report.html shows examples')
    return 0
