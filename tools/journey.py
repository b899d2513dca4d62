"""From a checkpoint to answers, every step with the command that a user would give.

    python tools/journey.py CHECKPOINT sample_photos/snacks/val.parquet my/folder

exports the model, embeds and indexes the catalogue, searches it by words and by photo, and
locates a product in the photo. Then it starts the service and the page, asks each once and ends
it; one whose extra is not installed is left out. Each command is printed before it runs, and its
seconds after it. The first one that fails ends the journey with its exit code.
"""

import argparse
import json
import shlex
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from eclip_mm.utils.command import CommandParser, run_command

#: until a server has loaded its model and answers
SECONDS = 120


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


def visit(words: list[str], path: str, body: dict | None = None) -> str:
    """Start a server on a free port, ask it once and end it; returns the answer."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    command = [sys.executable, '-m', 'eclip_mm.cli', *words, '--port', str(port)]
    data = None if body is None else json.dumps(body).encode()
    request = Request(f'http://127.0.0.1:{port}{path}', data, {'Content-Type': 'application/json'})
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + SECONDS
        while True:
            try:
                with urlopen(request, timeout=SECONDS) as answer:
                    return answer.read().decode()
            except URLError as error:
                if server.poll() is not None or time.monotonic() > end or hasattr(error, 'code'):
                    raise
            time.sleep(0.2)
    finally:
        server.terminate()
        server.wait()


def main():
    args = parse_args()
    from eclip_mm.cli import main as command

    def step(words: list[str], run) -> None:
        print('$ eclip-mm', shlex.join(words), flush=True)
        start = time.perf_counter()
        code = run(words)
        if code:
            sys.exit(code)
        print(f'# {time.perf_counter() - start:.1f} s', flush=True)

    commands = journey(args.checkpoint, args.catalogue, args.folder)
    for words in commands:
        step(words, command)
    index, model = commands[2][2], commands[0][2]
    if find_spec('fastapi'):
        query = dict(text=commands[3][2], k=3)
        serve = ['serve', model, '--index', index]
        step(serve, lambda words: print(visit(words, '/search', query)))
    if find_spec('gradio'):
        page = ['page', index, '--model', model, '--catalogue', args.catalogue]
        step(page, lambda words: print(f'a page of {len(visit(words, "/"))} characters'))


if __name__ == '__main__':
    run_command(main)
