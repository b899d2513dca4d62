"""From a checkpoint to answers, every step with the command that a user would give.

    python tools/journey.py CHECKPOINT sample_photos/snacks/val.parquet my/folder

exports the model, encodes a text and a photo, embeds and indexes the catalogue, searches it by
words and by photo, classifies the photo, and locates a product in it. Then it starts the service
and the page, asks each once and ends it; one whose extra is not installed is left out. Each
command is printed before it runs, and its seconds after it. The first one that fails ends the
journey with its exit code.
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

#: servers -> the module that their extra brings
SERVERS = dict(serve='fastapi', page='gradio')
#: until a server has loaded its model and answers
SECONDS = 600


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument('catalogue', help='catalogue to search in')
    parser.add_argument('folder', type=Path, help='is made; gets model, features, index and photo')
    return parser.parse_args()


def journey(checkpoint: str, catalogue: str, folder: Path) -> dict[str, list[str]]:
    """The commands by what they do; they have text and photo of the catalogue's first product.

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
    parts = ('model', 'features', 'index', 'audit')
    model, features, index, audit = (str(folder / name) for name in parts)
    words = product['text']
    return dict(
        export=['export', checkpoint, model],
        encode=['encode', model, words, str(photo)],
        embed=['embed', 'embed.py', model, catalogue, features, '--per', 'picture'],
        build=['index', 'build', index, features],
        info=['index', 'info', index],
        by_words=['search', index, words, '--model', model, '-k', '3'],
        by_photo=['search', index, str(photo), '--model', model, '-k', '3'],
        classify=['classify', model, str(photo), '--names', *names, '--top-k', '1'],
        locate=['locate', model, str(photo), '--names', *names],
        boxes=['locate', model, catalogue, '--coco', f'{folder}/boxes.json', '--threshold', '0'],
        audit=['audit', features, catalogue, audit],
        serve=['serve', model, '--index', index],
        page=['page', index, '--model', model, '--catalogue', catalogue, '--audit', audit],
    )


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
                if hasattr(error, 'code'):  # an answer
                    raise
                if server.poll() is not None or time.monotonic() > end:
                    state = 'has ended' if server.poll() is not None else 'does not answer'
                    raise RuntimeError(f'eclip-mm {words[0]} {state}') from error
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
    query = dict(text=commands['by_words'][2], k=3)

    def ask(words: list[str]) -> None:
        if words[0] == 'serve':
            print(visit(words, '/search', query))
        else:
            print(f'a page of {len(visit(words, "/"))} characters')

    for name, words in commands.items():
        if name not in SERVERS:
            step(words, command)
        elif find_spec(SERVERS[name]):
            step(words, ask)


if __name__ == '__main__':
    run_command(main)
