"""Latency of `eclip-mm serve` beside LitServe with the same model, in one run.

    pip install --target /tmp/litserve --no-deps litserve pyzmq uvloop httptools
    python benchmarks/serving.py my_model --litserve /tmp/litserve
    python benchmarks/serving.py my_model --soak 20000

LitServe is no dependency: --litserve names the folder that has it, or nothing where it is
installed.
Each client sends one picture at a time, the next when it has the answer. Rounds alternate between
the servers. `ratio` is the time of eclip-mm by that of LitServe. A line is JSON.
"""

import argparse
import base64
import collections
import http.client
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / 'sample_photos/snacks/val.parquet'
PEER = """
import base64, sys
import litserve
from eclip_mm import Eclip

class Api(litserve.LitAPI):
    def setup(self, device):
        self.eclip = Eclip(sys.argv[1], device='cpu')

    def decode_request(self, request):
        return dict(image=base64.b64decode(request['inputs'][0]['image']))

    def batch(self, inputs):
        return inputs

    def predict(self, inputs):
        return self.eclip.encode(inputs)

    def unbatch(self, outputs):
        return outputs

    def encode_response(self, output):
        return dict(results=[output])

if __name__ == '__main__':
    api = Api(max_batch_size=32, batch_timeout=0.005, api_path='/encode')
    server = litserve.LitServer(api, accelerator='cpu', devices=1, workers_per_device=1)
    server.run(host='127.0.0.1', port=int(sys.argv[2]), generate_client_file=False,
               num_api_servers=1, log_level='warning')
"""


class Server:
    """A server in a process of its own, on a free port."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        with socket.socket() as sock:
            sock.bind(('127.0.0.1', 0))
            self.port = sock.getsockname()[1]
        command = [part.replace('PORT', str(self.port)) for part in command]
        self.process = subprocess.Popen(command, env=env, start_new_session=True)

    def wait(self, body: bytes, seconds: float = 90) -> dict:
        """The first answer, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                status, answer = self.ask(http.client.HTTPConnection('127.0.0.1', self.port), body)
                if status == 200:
                    return json.loads(answer)
            except OSError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError('the server does not answer')
            time.sleep(0.2)

    @staticmethod
    def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
        connection.request('POST', '/encode', body, {'Content-Type': 'application/json'})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def memory(self) -> float:
        """Resident memory in MB."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(status.partition('VmRSS:')[2].split()[0]) / 1024

    def stop(self) -> None:
        """End the process and those that it started."""
        os.killpg(self.process.pid, 15)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()


def load(server: Server, bodies: list[bytes], clients: int, seconds: float) -> list[float]:
    """Times of the answers that clients got within some seconds."""
    times, end = [], time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection('127.0.0.1', server.port)
        k = number
        while time.monotonic() < end:
            start = time.perf_counter()
            status, _ = server.ask(connection, bodies[k % len(bodies)])
            if status != 200:
                raise RuntimeError(f'status {status}')
            times.append(time.perf_counter() - start)
            k += clients

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def compare(own: Server, peer: Server, bodies: list[bytes], args) -> None:
    """Print the times of both servers for each number of clients."""
    for clients in args.clients:
        times = collections.defaultdict(list)
        for _ in range(args.rounds):
            for name, server in (('own', own), ('peer', peer)):
                times[name] += load(server, bodies, clients, args.seconds)
        line = dict(clients=clients)
        for name, all_times in times.items():
            p50, p99 = np.percentile(all_times, [50, 99]) * 1000
            line |= {f'{name}_p50_ms': round(p50, 1), f'{name}_p99_ms': round(p99, 1)}
            line[f'{name}_per_second'] = round(len(all_times) / args.rounds / args.seconds, 1)
        for key in ('p50', 'p99'):
            line[f'{key}_ratio'] = round(line[f'own_{key}_ms'] / line[f'peer_{key}_ms'], 2)
        print(json.dumps(line), flush=True)


def soak(server: Server, files: list[bytes], count: int) -> None:
    """Send texts and as many broken pictures; print the answers and the memory meanwhile."""
    rng, statuses, broken = random.Random(0), collections.Counter(), 0
    connection = http.client.HTTPConnection('127.0.0.1', server.port)
    for number in range(count):
        if number % 2:
            value = dict(text=f'red mug {rng.random()}')
        else:
            broken += 1
            value = dict(image=base64.b64encode(_mutant(rng.choice(files), rng)).decode())
        status, answer = server.ask(connection, json.dumps(dict(inputs=[value])).encode())
        statuses[f'{status}{" with error" * (status == 200 and b"error" in answer)}'] += 1
        if number % (count // 8) == count // 8 - 1:
            line = dict(requests=number + 1, pictures=broken, memory_mb=round(server.memory()))
            print(json.dumps(line | dict(statuses=statuses)), flush=True)


def _mutant(file: bytes, rng: random.Random) -> bytes:
    mutant = bytearray(file)
    how, at = rng.randrange(3), rng.randrange(len(file))
    if how == 0:
        return file[:at]
    for _ in range(8):
        mutant[rng.randrange(len(mutant) if how == 1 else 200)] = rng.randrange(256)
    return bytes(mutant)


def _small(file: bytes, side: int) -> bytes:
    picture, small = Image.open(io.BytesIO(file)).convert('RGB'), io.BytesIO()
    picture.thumbnail((side, side))
    picture.save(small, 'JPEG')
    return small.getvalue()


def main() -> None:
    """Start the servers and ask them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model', help='checkpoint, or folder of an exported model')
    parser.add_argument('--litserve', default='', help='folder with LitServe')
    parser.add_argument('--clients', type=int, nargs='+', default=[1, 8, 32])
    parser.add_argument('--seconds', type=float, default=4, help='length of a round')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1, help='of the model, in each server')
    parser.add_argument('--soak', type=int, help='only send so many requests to eclip-mm')
    args = parser.parse_args()
    # so that the servers end as well
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows = pq.read_table(PHOTOS, columns=['images']).to_pylist()
    files = [_small(row['images'][0]['bytes'], 256) for row in rows]
    bodies = [
        json.dumps(dict(inputs=[dict(image=base64.b64encode(file).decode())])).encode()
        for file in files
    ]
    paths = [str(ROOT), args.litserve, os.environ.get('PYTHONPATH', '')]
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    env['PYTHONPATH'] = os.pathsep.join(filter(None, paths))
    command = [sys.executable, '-m', 'eclip_mm.cli', 'serve', args.model, '--port', 'PORT']
    servers = [Server([*command, '--device', 'cpu'], env)]
    try:
        first = servers[0].wait(bodies[0])
        if args.soak:
            soak(servers[0], [_small(file, 48) for file in files], args.soak)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'peer.py'
            path.write_text(PEER)
            servers.append(Server([sys.executable, str(path), args.model, 'PORT'], env))
            other = servers[1].wait(bodies[0])
            vectors = [np.array(found['results'][0]['vector']) for found in (first, other)]
            print(json.dumps(dict(largest_difference=float(np.abs(np.subtract(*vectors)).max()))))
            compare(*servers, bodies, args)
    finally:
        for server in servers:
            server.stop()


if __name__ == '__main__':
    main()
