"""A web server on this machine for tests: it answers as it is told, and counts."""

import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Answers by path.

    Attributes:
        answers: {path: (status, headers, body)}, or a list of these that are used up in turn.
        asked: number of requests of each path.
        most_at_once: most requests that were being answered at a time.
    """

    def __init__(self, port: int) -> None:
        self.url = f'http://127.0.0.1:{port}'
        self.answers: dict = {}
        self.asked: Counter = Counter()
        self.headers: list = []
        self.most_at_once = self.now = 0
        self.seconds = 0.0
        self.lock = threading.Lock()


@contextmanager
def web_server():
    """Run a server while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 (the name that http.server calls)
            with server.lock:
                server.asked[self.path] += 1
                server.headers.append(dict(self.headers))
                server.now += 1
                server.most_at_once = max(server.most_at_once, server.now)
                answer = server.answers.get(self.path, (404, {}, b'not here'))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
            time.sleep(server.seconds)
            status, headers, body = answer
            with server.lock:
                server.now -= 1
            self.send_response(status)
            for name, value in {'Content-Length': len(body), **headers}.items():
                if value is not None:
                    self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    httpd.daemon_threads = True
    server = Server(httpd.server_port)
    thread = threading.Thread(target=httpd.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
