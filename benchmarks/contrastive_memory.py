"""Memory and time of ITC's loss and gradient, in tiles and with the whole matrix of logits.

    python benchmarks/contrastive_memory.py                   # both variants at 8,192 features
    python benchmarks/contrastive_memory.py --large 65536     # and only the tiles at 65,536

Each variant runs in its own process. The last line is JSON: seconds; the peak of resident memory
above that of the process with the features (gradients of both sides included); the ratios of the
two variants; and the difference of their losses and gradients. The program exits with an error if
the tiles need more than 1 GiB above the features or the two variants differ.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from memory import peak, resident

from eclip_mm.models.heads import ITCHead
from eclip_mm.models.heads.tiles import MAX_LOGITS
from eclip_mm.models.pretrain_outputs import PretrainOutputs

LIMIT = 2**30  # bytes above the features


def measure(size: int, dims: int, max_elements: int, out: str) -> dict:
    """Compute loss and gradient once in this process; the gradients go to the file ``out``."""
    generator = torch.Generator().manual_seed(0)
    image, text = (
        F.normalize(torch.randn(size, dims, generator=generator), dim=-1).requires_grad_()
        for _ in range(2)
    )
    scale = torch.tensor(20.0, requires_grad=True)
    head = ITCHead(max_elements=max_elements)
    # every 16th product occurs twice
    ids = torch.arange(size)
    ids[::16] = ids[1::16][: len(ids[::16])]
    outputs = PretrainOutputs(image, text, id_hash=ids, logit_scale=scale)
    before, start = resident(), time.perf_counter()
    loss = head.loss(outputs)['loss_itc']
    loss.backward()
    seconds, above = time.perf_counter() - start, peak() - before
    torch.save([loss.detach(), scale.grad, image.grad, text.grad], out)
    return dict(
        size=size, seconds=round(seconds, 2), peak_above_features_gib=round(above / 2**30, 3)
    )


def in_process(args, folder: str, name: str, size: int, max_elements: int) -> dict:
    """Run :func:`measure` in a new process, so that its peak is that of one variant."""
    command = [sys.executable, __file__, '--measure', f'{folder}/{name}.pth', '--size', str(size)]
    command += ['--dims', str(args.dims), '--max-elements', str(max_elements)]
    if args.threads:
        command += ['--threads', str(args.threads)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(f'{name}: {result}', flush=True)
    return result


def difference(folder: str) -> float:
    """Return the largest difference, relative to the largest element of each tensor."""
    plain, tiles = (
        torch.load(Path(folder, f'{name}.pth'), weights_only=True) for name in ('plain', 'tiles')
    )
    return max(
        ((a - b).abs().max() / a.abs().max()).item() for a, b in zip(plain, tiles, strict=True)
    )


def main() -> None:
    """Measure both variants and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=8192, help='features, for both variants')
    parser.add_argument('--large', type=int, help='features of a further run, only in tiles')
    parser.add_argument('--dims', type=int, default=512)
    parser.add_argument('--max-elements', type=int, default=MAX_LOGITS, help='logits of a tile')
    parser.add_argument('--threads', type=int, help='CPU threads (default: all cores)')
    parser.add_argument('--measure', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.measure:
        print(json.dumps(measure(args.size, args.dims, args.max_elements, args.measure)))
        return

    with tempfile.TemporaryDirectory() as folder:
        plain = in_process(args, folder, 'plain', args.size, args.size**2)
        tiles = in_process(args, folder, 'tiles', args.size, args.max_elements)
        differ = difference(folder)
        large = args.large and in_process(args, folder, 'large', args.large, args.max_elements)
    memory = 'peak_above_features_gib'
    result = dict(
        plain=plain,
        tiles=tiles,
        time_ratio=round(tiles['seconds'] / plain['seconds'], 3),
        memory_ratio=round(tiles[memory] / plain[memory], 3),
        largest_relative_difference=differ,
        large=large,
        threads=args.threads or torch.get_num_threads(),
    )
    print(json.dumps(result))
    most = max(run[memory] for run in (tiles, large) if run)
    if most * 2**30 > LIMIT or differ > 1e-4:  # float32 sums in another order
        sys.exit('more than 1 GiB above the features, or the loss is not that of the whole matrix')


if __name__ == '__main__':
    main()
