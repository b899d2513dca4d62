"""``eclip-mm serve``: a model and an index over HTTP (docs/serving.md)."""

import os
import sys
from importlib.util import find_spec

from eclip_mm.cli.inputs import ADDRESS
from eclip_mm.utils.command import part_parser

KEY = 'ECLIP_MM_API_KEY'
EXAMPLE = f"""examples:
  eclip-mm serve my_model --index my/index
  {KEY}=secret eclip-mm serve my_model --host 0.0.0.0 --port 8000 --requests 128"""
#: limit -> what it is, see `eclip_mm.serving.Limits`
LIMITS = {
    'num_bytes': (int, 'largest body of a request'),
    'num_pixels': (int, 'largest picture'),
    'inputs': (int, 'inputs of a request'),
    'names': (int, 'names of a request'),
    'chars': (int, 'characters of a text'),
    'hits': (int, 'hits of a search'),
    'seconds': (float, 'time until the answer'),
    'requests': (int, 'requests at the same time; others get 429'),
    'batch': (int, 'inputs that the model takes at a time; default: 16 on CPUs, else 32'),
    'wait': (float, 'longest wait for a full batch, while others send requests, in seconds'),
}


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = part_parser(name, __doc__, EXAMPLE)
    parser.add_argument('model', help='checkpoint, or folder of an exported model')
    parser.add_argument('--index', metavar='ADDRESS', help=f'what /search searches: {ADDRESS}')
    parser.add_argument('--device', help='such as cuda:1; default: a GPU if there is one')
    parser.add_argument('--host', default='127.0.0.1', help='0.0.0.0 for other machines')
    parser.add_argument('--port', type=int, default=8000)
    for limit, (kind, what) in LIMITS.items():
        parser.add_argument(f'--{limit.replace("_", "-")}', dest=limit, type=kind, help=what)
    args = parser.parse_args(arguments)
    if not all(map(find_spec, ('fastapi', 'uvicorn', 'prometheus_client'))):
        print(f"{name} needs FastAPI and uvicorn: pip install -e '.[serve]'", file=sys.stderr)
        return 1
    _serve(args)
    return 0


def _serve(args) -> None:
    import uvicorn

    from eclip_mm.apis import Eclip
    from eclip_mm.index import open_index
    from eclip_mm.serving import Limits, build_app

    given = {key: getattr(args, key) for key in LIMITS if getattr(args, key) is not None}
    index = None if args.index is None else open_index(args.index)
    eclip = Eclip(args.model, args.device)
    limits = Limits.of_device(eclip.device, **given)
    app = build_app(eclip, index, limits, os.environ.get(KEY))
    # the requests that run may finish before the end
    uvicorn.run(
        app,
        host=args.host,
        port=args.port,
        access_log=False,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )
