"""From a checkpoint to answers, every step with the command that a user would give.

    python tools/journey.py CHECKPOINT sample_photos/snacks/val.parquet my/folder

exports the model, embeds and indexes the catalogue, searches it by words and by photo, and
locates a product in the photo. Each command is printed before it runs, and its seconds after it.
The first one that fails ends the journey with its exit code.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

from eclip_mm.utils.command import CommandParser, run_command


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument('catalogue', help='catalogue to search in')
    parser.add_argument('folder', type=Path, help='is made; gets model, features, index and photo')
    return parser.parse_args()


def journey(checkpoint: str, catalogue: str, folder: Path) -> list[list[str]]:
    """The commands, which have a text and a photo of the catalogue's first product.

    Args:
        checkpoint: of a training.
        catalogue: path.
        folder: gets ``photo.jpg``, and what the commands write.
    """
    from eclip_mm.datasets import read_catalogue

    products = read_catalogue(catalogue)
    product = products[0]
    picture = product['images'][0]
    content = picture.get('bytes') or Path(picture['path']).read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    photo = folder / 'photo.jpg'  # a decoder looks at the content alone
    photo.write_bytes(content)
    names = list(dict.fromkeys(products.texts()))[:20]  # they compete for the photo
    model, features, index = (str(folder / name) for name in ('model', 'features', 'index'))
    return [
        ['export', checkpoint, model],
        ['embed', 'embed.py', model, catalogue, features, '--per', 'picture'],
        ['index', 'build', index, features],
        ['search', index, product['text'], '--model', model, '-k', '3'],
        ['search', index, str(photo), '--model', model, '-k', '3'],
        ['locate', model, str(photo), '--names', *names],
    ]


def main():
    args = parse_args()
    from eclip_mm.cli import main as command

    for words in journey(args.checkpoint, args.catalogue, args.folder):
        print('$ eclip-mm', shlex.join(words), flush=True)
        start = time.perf_counter()
        code = command(words)
        if code:
            sys.exit(code)
        print(f'# {time.perf_counter() - start:.1f} s', flush=True)


if __name__ == '__main__':
    run_command(main)
