"""Search the sample photos in the browser, with the model that the demo has trained.

    make page          # or: python tools/demo_page.py

It embeds the pictures and builds the index, unless they are there, and opens the page.
"""

import argparse
import os
import sys
from pathlib import Path

from eclip_mm.utils.command import CommandParser, run_command

ROOT = Path(__file__).resolve().parents[1]
CATALOGUES = [ROOT / f'sample_photos/{name}/train.parquet' for name in ('grocery', 'snacks')]
#: all but the phone photos of groceries, so that it starts within a minute
SOURCES = ('merchant', 'crop', 'video')


def parse_args():
    parser = CommandParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        '--work-dir', type=Path, default=Path('demo_output'), help='folder of the demo'
    )
    parser.add_argument(
        '--config',
        type=Path,
        default=ROOT / 'configs/demo/eclip_photos.py',
        help='config of the demo that trained the model',
    )
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=7860)
    return parser.parse_args()


def run(*arguments) -> None:
    """Run a command of ``eclip-mm``, and say which."""
    from eclip_mm.cli import main as eclip_mm

    words = [str(argument) for argument in arguments]
    print('$ eclip-mm', *words, flush=True)
    if code := eclip_mm(words):
        sys.exit(code)


def is_built(index: Path, checkpoint: Path) -> bool:
    """Whether the index is there, and of this checkpoint."""
    from eclip_mm.index import VectorIndex
    from eclip_mm.utils.files import sha256_of

    try:
        return VectorIndex(index).manifest['checkpoint_sha256'] == sha256_of(checkpoint)
    except FileNotFoundError:
        return False


def main():
    args = parse_args()
    # before torch is imported; threads of one picture at a time mostly wait for each other
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    from eclip_mm.checkpoint import last_checkpoint

    trained = args.work_dir / args.config.stem
    checkpoint = last_checkpoint(trained)
    if checkpoint is None:
        raise FileNotFoundError(
            f'{trained}/last_checkpoint is missing: `make demo` trains the model first, in about '
            'ten minutes'
        )
    if not is_built(args.work_dir / 'page/index', checkpoint):
        # a folder for each checkpoint, since features of two cannot be mixed
        features = args.work_dir / 'page' / f'features_{checkpoint.stem}'
        options = ['--per', 'picture', '--features', 'image', '--batch-size', 4]
        where = [checkpoint, *CATALOGUES, features]
        run('embed', args.config, *where, *options, '--sources', *SOURCES)
        run('index', 'build', args.work_dir / 'page/index', features)
    served = ['--model', checkpoint, '--host', args.host, '--port', args.port]
    run('page', args.work_dir / 'page/index', *served)


if __name__ == '__main__':
    run_command(main)
