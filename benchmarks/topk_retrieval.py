"""Time and memory of an exact search: size x size features through topk_similarity.

    python benchmarks/topk_retrieval.py                     # 200,000 x 200,000 at 512 dimensions
    python benchmarks/topk_retrieval.py --size 20000

The last line is JSON: seconds, and the peak of resident memory above that of the process with the
features.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from memory import peak, resident
from tqdm import tqdm

from eclip_mm.evaluation.functional import topk_similarity

BLOCK = 4096  # queries per step of the progress bar; a tile of topk_similarity


def main() -> None:
    """Generate features, search each among the others, and print time and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=200_000, help='items; each is also a query')
    parser.add_argument('--dims', type=int, default=512)
    parser.add_argument('--k', type=int, default=10, help='neighbours of each query')
    parser.add_argument(
        '--queries', type=int, help='search only for the first ones (default: all)'
    )
    parser.add_argument('--threads', type=int, help='CPU threads (default: all cores)')
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    feats = np.empty((args.size, args.dims), dtype=np.float32)
    np.random.default_rng(0).standard_normal(dtype=np.float32, out=feats)
    queries = min(args.queries or args.size, args.size)

    before, start, cpu = resident(), time.perf_counter(), time.process_time()
    checksum = 0
    for first in tqdm(range(0, queries, BLOCK), desc='search', mininterval=5, ascii=True):
        rows = np.arange(first, min(first + BLOCK, queries))
        _, indices = topk_similarity(feats[rows[0] : rows[-1] + 1], feats, args.k, exclude=rows)
        checksum = (31 * checksum + int(indices.sum())) % 2**32
    result = dict(
        queries=queries,
        gallery=args.size,
        dims=args.dims,
        k=args.k,
        threads=torch.get_num_threads(),
        seconds=round(time.perf_counter() - start, 2),
        cpu_seconds=round(time.process_time() - cpu, 2),
        features_gib=round(feats.nbytes / 2**30, 3),
        peak_above_features_gib=round((peak() - before) / 2**30, 3),
        checksum=checksum,
    )
    print(json.dumps(result))
    if peak() - before > 2 * 2**30:
        sys.exit('more than 2 GiB above the features')


if __name__ == '__main__':
    main()
