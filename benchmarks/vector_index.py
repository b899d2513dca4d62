"""Time of an exact search beside faiss.IndexFlatIP, on the same cores.

    pip install --target /tmp/faiss --no-deps faiss-cpu
    python benchmarks/vector_index.py --faiss /tmp/faiss --rows 100000 --queries 1 16 256
    python benchmarks/vector_index.py --faiss /tmp/faiss --search evaluation --rows 50000 \\
        --queries 4096

The search is that of an index, or that of the evaluation, which takes vectors of any length.
faiss-cpu is no dependency: --faiss names the folder that has it, or nothing where it is
installed. Rounds alternate; the times are the best of them, in CPU seconds. A line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = """
import json, sys, time, faiss, numpy as np
faiss.omp_set_num_threads(int(sys.argv[2]))
x = np.load(sys.argv[1], mmap_mode='r')
index = faiss.IndexFlatIP(x.shape[1])
index.add(x)
for line in sys.stdin:
    n, k = json.loads(line)
    start = time.process_time()
    _, found = index.search(x[:n], k)
    print(json.dumps([time.process_time() - start, found.tolist()]), flush=True)
"""


def main() -> None:
    """Time both searches and compare what they find."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', type=int, default=100_000)
    parser.add_argument('--dims', type=int, default=512)
    parser.add_argument('--queries', type=int, nargs='+', default=[1, 16, 256])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--search', choices=['index', 'evaluation'], default='index')
    parser.add_argument('--faiss', default='', help='folder with faiss-cpu')
    args = parser.parse_args()

    import numpy as np
    import torch

    from eclip_mm.evaluation.functional import topk_similarity
    from eclip_mm.index.ranking import nearest_rows

    search = dict(index=nearest_rows, evaluation=topk_similarity)[args.search]

    torch.set_num_threads(args.threads)
    feats = np.random.default_rng(0).standard_normal((args.rows, args.dims), dtype=np.float32)
    feats /= np.linalg.norm(feats, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'feats.npy'
        np.save(path, feats)
        feats = np.load(path, mmap_mode='c')
        peer = subprocess.Popen(
            [sys.executable, '-c', PEER, str(path), str(args.threads)],
            env=dict(os.environ, PYTHONPATH=args.faiss),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in args.queries:
            own, other = [], []
            for _ in range(args.rounds):
                start = time.process_time()
                found = np.asarray(search(feats[:n], feats, 10)[1])
                own.append(time.process_time() - start)
                peer.stdin.write(json.dumps([n, 10]) + '\n')
                peer.stdin.flush()
                seconds, theirs = json.loads(peer.stdout.readline())
                other.append(seconds)
            result = dict(
                search=args.search, queries=n, rows=args.rows, dims=args.dims, threads=args.threads
            )
            result |= dict(seconds=round(min(own), 4), faiss_seconds=round(min(other), 4))
            result |= dict(
                ratio=round(min(own) / min(other), 2),
                same=round(float((found == np.array(theirs)).mean()), 4),
            )
            print(json.dumps(result), flush=True)
        peer.stdin.close()
        peer.wait()


if __name__ == '__main__':
    main()
