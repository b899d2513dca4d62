"""Time, arithmetic and memory of training steps of ECLIP, CLIP and transformers' CLIP.

    python benchmarks/train_step.py --layers 2 --batch-size 20    # thin towers: a quick check
    python benchmarks/train_step.py                               # ViT-B/16, as the paper's
    python benchmarks/train_step.py --systems peer eclip --profile
    git worktree add ../before COMMIT && python benchmarks/train_step.py --before ../before

The peer is ``transformers.VisionTextDualEncoderModel`` with the same towers, batch, precision,
optimiser and clipping; on a GPU open_clip is measured as well if it is installed. Each system runs
in its own process and makes one step per request. The steps of all systems alternate, so that
other load on the machine affects all of them equally. The program prints medians; a ratio is the
median over the rounds of a system's time divided by the first system's time in the same round.

There are three kinds of text: ``full``: all texts have 55 tokens, so that no padding can be saved;
``titles``: texts have the lengths of product titles (65% of them have more than 15 words: Rozen et
al. 2021), padded to the longest of the batch; ``titles55``: the same padded to 55, as with
``padding='max_length'``. All systems get the same tensors. The arithmetic is counted on the actual
computation (torch.utils.flop_counter; 2 per multiplication with addition; matrix products and
attention): on ``full`` ECLIP's momentum model and decoder make it 1.37 times CLIP's, and 1.40
times with W_z and W_v on the tokens as Eq. 2 and 4 are written. ``of matmul`` is this arithmetic
per second as a fraction of the rate of one large matrix product in the same precision. ``faults``
are the pages that the system hands out in a step. The last line is JSON.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
from memory import peak
from step_systems import build_system, count_flops, make_batch, text_lengths
from torch.profiler import profile

TEXTS = ('full', 'titles', 'titles55')


class Worker:
    """A system in its own process that answers one command at a time."""

    def __init__(self, name: str, args):
        environment, folder = dict(os.environ), None
        if name == 'eclip before':  # package and config of the other checkout
            folder = os.path.abspath(args.before)
            environment['PYTHONPATH'] = folder
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), *sys.argv[1:], '--worker', name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )

    def ask(self, *command: str):
        """Send a command and return the answer, parsed from JSON.

        Raises:
            RuntimeError: the process has ended.
        """
        try:
            print(*command, file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError) as error:
            raise RuntimeError(f'{self.process.args[-1]} has ended, see above') from error

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def work(args) -> None:
    """Run the process of one system: read commands and answer in JSON."""
    if not args.give_back:
        from eclip_mm.utils.memory import reuse_freed_memory

        reuse_freed_memory()
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # keep output of libraries out of the answers
    system, image_size = build_system(args.worker, args)
    batches = {text: make_batch(args, image_size, text) for text in TEXTS}
    on_gpu = args.device.startswith('cuda')

    clock = time.process_time if args.clock == 'cpu' else time.perf_counter

    def seconds(function) -> float:
        start = clock()
        function()
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - start

    def step(text: str) -> float:
        return seconds(lambda: system.step(batches[text]))

    def rate(_: str) -> float:
        side = 8192 if on_gpu else 1024
        dtype = torch.bfloat16 if args.precision == 'bf16' else torch.float32
        x = torch.randn(side, side, device=args.device, dtype=dtype)
        return 2 * side**3 / min(seconds(lambda: x @ x) for _ in range(10))

    def count(text: str) -> int:
        return count_flops(lambda: system.step(batches[text]))

    def memory(text: str) -> int:
        return torch.cuda.max_memory_allocated() if on_gpu else peak()

    def faults(_: str) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def table(text: str) -> str:
        with profile() as profiler:
            step(text)
        by = 'self_device_time_total' if on_gpu else 'self_cpu_time_total'
        return profiler.key_averages().table(
            sort_by=by, row_limit=18, max_name_column_width=48, header=args.worker
        )

    commands = dict(step=step, rate=rate, count=count, memory=memory, faults=faults, profile=table)
    for line in sys.stdin:
        name, text = line.split()
        print(json.dumps(commands[name](text)), file=answers, flush=True)


def measure(args) -> dict:
    """Measure all systems and return their figures by text and system."""
    workers = {name: Worker(name, args) for name in args.systems}
    try:
        results = {text: {} for text in args.texts}
        for text in args.texts:
            for worker in workers.values():
                for _ in range(2):  # warm up allocators and compilation
                    worker.ask('step', text)
            before = {name: worker.ask('faults', text) for name, worker in workers.items()}
            rounds = [
                {name: worker.ask('step', text) for name, worker in workers.items()}
                for _ in range(args.steps)
            ]
            for name in workers:
                first = args.systems[0]
                results[text][name] = dict(
                    seconds=round(statistics.median(r[name] for r in rounds), 4),
                    ratio=round(statistics.median(r[name] / r[first] for r in rounds), 3),
                    page_faults=round(
                        (workers[name].ask('faults', text) - before[name]) / args.steps
                    ),
                )
        peaks = {name: worker.ask('memory', '-') for name, worker in workers.items()}
        if args.profile:
            for worker in workers.values():
                print(worker.ask('profile', args.texts[0]))
        rate = next(iter(workers.values())).ask('rate', '-')
        for text, systems in results.items():
            for name, row in systems.items():
                flop = workers[name].ask('count', text)
                row['gflop'] = round(flop / 1e9, 1)
                row['gflop_ratio'] = round(row['gflop'] / systems[args.systems[0]]['gflop'], 3)
                row['of_matmul'] = round(flop / row['seconds'] / rate, 3)
                row['peak_gib'] = round(peaks[name] / 2**30, 2)
    finally:
        for worker in workers.values():
            worker.close()
    return results


def main() -> None:
    """Measure all systems side by side and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='configs/eclip_vitb16.py')
    parser.add_argument('--batch-size', type=int, default=24, help='at least the 20 queries')
    parser.add_argument('--layers', type=int, help='of both towers; half as many decoder blocks')
    parser.add_argument('--precision', choices=('bf16', 'fp32'), default='bf16')
    parser.add_argument('--median-tokens', type=float, default=24, help='median of the titles')
    parser.add_argument('--steps', type=int, default=5, help='rounds, after a warm-up of two')
    parser.add_argument(
        '--clock',
        choices=('wall', 'cpu'),
        default='wall',
        help='cpu: CPU seconds of all threads, for a machine with other load',
    )
    parser.add_argument(
        '--give-back',
        action='store_true',
        help='give freed memory back to the system, as programs did until tools/train.py kept it',
    )
    parser.add_argument('--texts', nargs='+', choices=TEXTS, default=TEXTS)
    parser.add_argument(
        '--systems',
        nargs='+',
        help='peer, open_clip, clip, eclip; "eclip compiled", '
        '"eclip model.text_encoder.length_groups=1"; the first is 1.0',
    )
    parser.add_argument(
        '--before',
        help='folder of another checkout, whose eclip and config are measured as well',
    )
    parser.add_argument('--profile', action='store_true', help='print the time of each operator')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--worker', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.systems is None:
        args.systems = ['peer', 'peer compiled', 'clip', 'eclip', 'eclip compiled']
        if args.device.startswith('cuda') and importlib.util.find_spec('open_clip'):
            args.systems.append('open_clip')
    if args.before:
        args.systems.append('eclip before')
    if args.worker:
        work(args)
        return

    results = measure(args)
    lengths = text_lengths(args.batch_size, args.median_tokens).float()
    print(
        f'{args.config}, {args.layers or "all"} layers, batch {args.batch_size}, '
        f'{args.precision}, {args.device}, {torch.get_num_threads()} threads; '
        f'titles of {lengths.mean():.1f} tokens on average, at most {lengths.max():.0f}'
    )
    head = (
        'text',
        'system',
        's/step',
        'ratio',
        'GFLOP',
        'ratio',
        'of matmul',
        'peak GiB',
        'faults',
    )
    wide = max(15, *map(len, args.systems))
    print(
        '{:9} {:{}} {:>8} {:>6} {:>8} {:>6} {:>9} {:>8} {:>8}'.format(*head[:2], wide, *head[2:])
    )
    for text, systems in results.items():
        for name, row in systems.items():
            print(
                f'{text:9} {name:{wide}} {row["seconds"]:8.3f} {row["ratio"]:6.3f} '
                f'{row["gflop"]:8.1f} {row["gflop_ratio"]:6.3f} {row["of_matmul"]:9.1%} '
                f'{row["peak_gib"]:8.2f} {row["page_faults"]:8,}'
            )
    settings = {k: getattr(args, k) for k in ('config', 'layers', 'batch_size', 'precision')}
    print(json.dumps(dict(settings, threads=torch.get_num_threads(), results=results)))


if __name__ == '__main__':
    main()
