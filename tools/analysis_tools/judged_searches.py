"""Repeat searches that people have judged, such as the wrong results saved by the page.

    python tools/analysis_tools/judged_searches.py my/index my/index_judged/searches.jsonl \\
        --model CHECKPOINT

prints for how many searches a right product is found, and a wrong one still is: when they were
judged, and now. After a training, embed and index the catalogue with the new model, and give both.
"""

import argparse

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.text_table import format_table


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('index', help='its folder, or postgresql://HOST/DATABASE#TABLE')
    parser.add_argument('judged', nargs='+', help='JSON Lines of judged searches (docs/page.md)')
    parser.add_argument(
        '--model', required=True, help='checkpoint, or folder of an exported model'
    )
    parser.add_argument('-k', type=int, default=10, help='number of hits that count; default: 10')
    return parser.parse_args()


def main():
    args = parse_args()
    from eclip_mm.apis import Eclip
    from eclip_mm.index import judged_figures, open_index, read_judged

    searches = [search for path in args.judged for search in read_judged(path)]
    if not searches:
        raise ValueError(f'{", ".join(args.judged)}: there is no search in it')
    figures = judged_figures(open_index(args.index), Eclip(args.model), searches, args.k)
    rows = [(name, *counts) for name, counts in figures.items()]
    print(format_table(['', 'searches', 'when judged', 'now'], rows))


if __name__ == '__main__':
    run_command(main)
