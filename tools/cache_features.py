"""Store the features of a frozen image tower, so that training needs no pass through it.

    python tools/cache_features.py CONFIG --cfg-options feature_cache.folder=work_dirs/cache

The config has ``model.freeze.image`` and ``feature_cache=dict(folder=..., views=...)``. Training
and evaluation with the same config then read the features. A run that was interrupted or killed
continues when the command is given again.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.options import OptionAction


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a training, or one of configs/evaluation')
    parser.add_argument(
        '--checkpoint', help='checkpoint whose frozen tower is used; default: as the config says'
    )
    parser.add_argument('--max-gib', type=float, default=20, help='largest size (default: 20)')
    parser.add_argument('--jobs', type=int, default=1, help='processes with a model each')
    parser.add_argument('--batch-size', type=int, default=8, help='pictures at a time')
    parser.add_argument('--num-workers', type=int, default=2, help='decoders of each process')
    parser.add_argument('--amp', action='store_true', help='compute in bf16')
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, help='changes of the config as key=value'
    )
    return parser.parse_args()


def open_job(args):
    """The ``CacheJob`` of this process."""
    import torch
    from mmengine.registry import init_default_scope

    from eclip_mm.config import complete_from_checkpoint, load_config, name_config_in_errors
    from eclip_mm.embedding.feature_caching import CacheJob

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')

    def complete(cfg):
        if args.checkpoint:
            complete_from_checkpoint(cfg, None, args.checkpoint)

    with name_config_in_errors(args.config):
        cfg = load_config(args.config, args.cfg_options, complete)
        init_default_scope('eclip_mm')
        if not cfg.get('feature_cache'):
            raise KeyError("feature_cache is not set, such as dict(folder='work_dirs/cache')")
        return CacheJob(cfg, args.checkpoint, device, args.amp)


def check_size(job, max_gib: float) -> int:
    """Say how large the cache will be; returns the number of views."""
    from eclip_mm.datasets.feature_cache import CacheError

    pictures, views = job.count()
    gib = views * job.card.num_bytes / 2**30
    print(
        f'{views:,} views of {pictures:,} pictures x {job.card.num_bytes / 2**10:,.0f} KiB '
        f'(behind {job.card.boundary!r}) = {gib:.2f} GiB in {job.folder}',
        flush=True,
    )
    if gib > max_gib:
        fit = job.views_that_fit(max_gib * 2**30)
        smaller = f'set feature_cache.views to {fit}'
        if not fit:
            smaller = 'freeze another number of layer groups, whose features are smaller'
        raise CacheError(f'this is more than --max-gib {max_gib:g}: raise it, or {smaller}')
    return views


def fill(part: int, args, done, broken, lost, parent: int | None = None, job=None) -> None:
    """Fill the part of a process, and count; it ends when its parent, if it has one, is gone."""
    from eclip_mm.embedding.feature_caching import fill_cache

    job = job or open_job(args)
    parts = (part, args.jobs, args.batch_size, args.num_workers)
    for stored, failed, left_out in fill_cache(job, *parts):
        with done.get_lock():
            done.value += stored + failed
            broken.value += failed
            lost.value += left_out
        if parent is not None and os.getppid() != parent:  # nobody counts any more
            raise SystemExit('the process that started this one has ended')


def show(bar, done, is_over: Callable[[float], bool]) -> None:
    """Move a progress bar until all is done."""
    while not is_over(1.0):
        bar.update(done.value - bar.n)
    bar.update(done.value - bar.n)


def main():
    args = parse_args()
    from torch import multiprocessing
    from tqdm import tqdm

    job = open_job(args)
    views = check_size(job, args.max_gib)
    context = multiprocessing.get_context('spawn')
    done, broken, lost = (context.Value('q', 0) for _ in range(3))
    start = time.time()
    with tqdm(total=views, unit='view', smoothing=0) as bar:
        if args.jobs == 1:  # the model is here already
            over = threading.Event()
            shown = threading.Thread(target=show, args=(bar, done, over.wait), daemon=True)
            shown.start()
            try:
                fill(0, args, done, broken, lost, job=job)
            finally:
                over.set()
                shown.join()
        else:
            arguments = (args, done, broken, lost, os.getpid())
            parts = multiprocessing.spawn(fill, arguments, nprocs=args.jobs, join=False)
            show(bar, done, lambda seconds: parts.join(timeout=seconds))
    rate = done.value / max(time.time() - start, 1e-9)
    print(
        f'{done.value:,} views computed ({rate:.0f} a second), {views - done.value:,} were there '
        f'or repeat others; {broken.value} cannot be decoded'
        + f', {lost.value} items are in row groups that cannot be read'
        * bool(lost.value)
    )


if __name__ == '__main__':
    run_command(main)
