"""``eclip-mm page``: search an index in the browser, see why, and save what is wrong."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from eclip_mm.cli.inputs import ADDRESS
from eclip_mm.utils.command import part_parser

EXAMPLE = """examples:
  eclip-mm page my/index --model CHECKPOINT
  eclip-mm page my/index --model my_model --catalogue my/catalogue.parquet --port 8000
  eclip-mm page my/index --model my_model --audit my/audit"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = part_parser(name, __doc__, EXAMPLE)
    parser.add_argument('index', help=ADDRESS)
    parser.add_argument(
        '--model', required=True, help='checkpoint, or folder of an exported model'
    )
    parser.add_argument(
        '--catalogue',
        nargs='+',
        default=(),
        metavar='FILE',
        help='catalogue with titles and pictures; default: the one that was embedded',
    )
    parser.add_argument(
        '--judged',
        type=Path,
        metavar='FILE',
        help='JSON Lines that wrong results are saved to; default: INDEX_judged/searches.jsonl',
    )
    parser.add_argument(
        '--audit', metavar='FOLDER', help='what eclip-mm audit has written; its report gets a tab'
    )
    parser.add_argument('-k', type=int, default=12, help='number of results')
    parser.add_argument(
        '--host', default='127.0.0.1', help='0.0.0.0 for other machines; there is no password'
    )
    parser.add_argument('--port', type=int, default=7860)
    args = parser.parse_args(arguments)
    if _gradio() < 6:
        print(f"{name} needs Gradio 6: pip install -e '.[app]'", file=sys.stderr)
        return 1
    _serve(args)
    return 0


def _gradio() -> int:
    """The major version of Gradio; 0 if there is none."""
    try:
        return int(version('gradio').partition('.')[0])
    except PackageNotFoundError:
        return 0


def _serve(args) -> None:
    from eclip_mm.index import open_index
    from eclip_mm.page import ShownProducts, open_search
    from eclip_mm.page.blocks import build_blocks, launch

    report = None if args.audit is None else _read_report(args.audit)
    index = open_index(args.index)
    search = open_search(index, args.model, ShownProducts.of_index(index, args.catalogue))
    judged = args.judged or Path(f'{index.name}_judged') / 'searches.jsonl'
    launch(build_blocks(search, judged, args.k, report), args.host, args.port)


def _read_report(folder: str | Path) -> str:
    """The report that ``eclip-mm audit`` has written.

    Raises:
        FileNotFoundError: the folder has none.
    """
    file = Path(folder) / 'report.html'
    if not file.is_file():
        raise FileNotFoundError(
            f'{file} is missing: give the folder that `eclip-mm audit` has written'
        )
    return file.read_text(encoding='utf-8')
