"""Compare finished trainings, of detectors or other models, over seeds.

The program prints the means of the last figures with 95% intervals (Student's
t over seeds) and the differences to the first label, paired by seed. It draws
the curves of the loss and the figures.

    python tools/analysis_tools/compare_detection.py --out curves.png --markdown table.md \\
        ECLIP=work_dirs/eclip0 work_dirs/eclip1 CLIP=work_dirs/clip0 work_dirs/clip1
"""

import argparse
import json
from pathlib import Path

from eclip_mm.utils.command import CommandParser, run_command


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'runs',
        nargs='+',
        metavar='LABEL=DIR [DIR ...]',
        help='work dirs or scalars.json; those of one label are its seeds',
    )
    parser.add_argument(
        '--keys',
        nargs='+',
        default=['detection/mAP@0.3', 'detection/mAP@0.5'],
        help='figures to compare',
    )
    parser.add_argument('--out', type=Path, help='picture of the curves to write')
    parser.add_argument(
        '--smoothing', type=float, default=0.0, help='smoothing of losses, in [0, 1)'
    )
    parser.add_argument('--markdown', type=Path, help='table to write')
    parser.add_argument('--json', type=Path, help='JSON file of all figures to write')
    args = parser.parse_args()
    args.runs = group(args.runs, parser)
    return args


def group(words: list[str], parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Return label -> directories; a word with ``=`` begins a label."""
    runs: dict[str, list[str]] = {}
    label = None
    for word in words:
        if '=' in word:
            label, _, word = word.partition('=')
            if label in runs:
                parser.error(f'label {label!r} is given twice')
            runs[label] = []
        if not label:
            parser.error(f'{word}: begin with LABEL=DIR')
        runs[label] += [word] if word else []
    for label, own in runs.items():
        if not own:
            parser.error(f'label {label!r} has no directory')
    return runs


def main():
    args = parse_args()
    from eclip_mm.comparison.logged_runs import LoggedComparison
    from eclip_mm.visualization.curves import plot_curves

    comparison = LoggedComparison(args.runs, args.keys)
    warnings = [f'WARNING: {text}' for text in comparison.warnings()]
    print('\n'.join([comparison.table(), *warnings]))
    if args.markdown:
        write(args.markdown, '\n\n'.join([comparison.table(markdown=True), *warnings]))
    if args.json:
        write(args.json, json.dumps(comparison.summary(), indent=2))
    if args.out:
        plot_curves(args.runs, args.out, ['loss', *args.keys], smoothing=args.smoothing)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    run_command(main)
