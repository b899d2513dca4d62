"""A hub on this machine, as much of it as the client asks for when it downloads a model."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = 'a' * 40


class FakeHub:
    """Serves models at ``url``.

    Args:
        models: name -> {file: contents}.
        licence: of every model.

    Attributes:
        gated: names that need consent.
        sums: (name, file) -> sha256 that is listed instead of the right one.
        asked: paths of all requests.
    """

    def __init__(self, models: dict[str, dict[str, bytes]], licence: str = 'mit'):
        self.models, self.licence = models, licence
        self.gated, self.sums, self.asked = set(), {}, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                status, headers, body = hub.answer(self.path)
                self.send_response(status)
                for key, value in {'Content-Length': str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == 'GET':
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> tuple[int, dict, bytes]:
        path = path.partition('?')[0]
        self.asked.append(path)
        if path.startswith('/api/models/'):
            name = path.removeprefix('/api/models/').partition('/revision/')[0]
            if name in self.models:
                return 200, {'Content-Type': 'application/json'}, self.describe(name)
        name, _, rest = path.strip('/').partition('/resolve/')
        if name in self.gated:
            return 403, {'X-Error-Code': 'GatedRepo'}, b''
        body = self.models.get(name, {}).get(rest.partition('/')[2])
        if body is None:
            return 404, {'X-Error-Code': 'RepoNotFound'}, b''
        sha256 = hashlib.sha256(body).hexdigest()
        return 200, {'X-Repo-Commit': REVISION, 'ETag': f'"{sha256}"'}, body

    def describe(self, name: str) -> bytes:
        siblings = []
        for file, body in self.models[name].items():
            sibling = dict(rfilename=file, size=len(body))
            if file.endswith(('.safetensors', '.bin')):
                sha256 = self.sums.get((name, file), hashlib.sha256(body).hexdigest())
                sibling['lfs'] = dict(sha256=sha256, size=len(body), pointerSize=1)
            siblings.append(sibling)
        card = dict(license=self.licence)
        return json.dumps(
            dict(id=name, modelId=name, sha=REVISION, siblings=siblings, cardData=card)
        ).encode()
