"""How a training step of ECLIP grows with batch, text length, decoder blocks and queries.

    python benchmarks/growth.py                                  # ViT-B/16
    python benchmarks/growth.py --layers 2 --axes tokens queries # thin towers, two axes
    python benchmarks/growth.py --tiny --clock cpu               # a rehearsal in a minute

Along each axis one size changes and the others stay. A row gives the time of a step, its ratio to
the first row of the axis, the same ratio by count (torch.utils.flop_counter), and the one divided
by the other: above 1, a step grows faster than its arithmetic. One model is in memory at a time,
so run it on a quiet machine. The last line is JSON.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from step_systems import build_system, count_flops, make_batch

BLOCKS, QUERIES = 'model.decoder.num_blocks', 'model.queries.num_queries'
#: axis -> its values, and what each row has beside its value
AXES = {
    'batch': ((8, 24, 64, 128, 256), {QUERIES: 8}),
    'tokens': ((10, 20, 30, 40, 55), {}),
    'blocks': ((1, 2, 3, 6), {}),
    'queries': ((20, 40, 60, 100), {}),
}
TINY = {'batch': (8, 16), 'tokens': (10, 55), 'blocks': (1, 2), 'queries': (4, 8)}


def build_step(args, axis: str, value: int) -> Callable[[], None]:
    """Build a model and a batch with one size of an axis; returns what makes a step."""
    options = dict(AXES[axis][1])
    batch_size = args.batch_size
    if axis == 'batch':
        batch_size = value
    elif axis == 'blocks':
        options[BLOCKS] = value
    elif axis == 'queries':  # a query needs a product of its own
        options[QUERIES] = value
        batch_size = max(batch_size, *args.values['queries'])
    words = [f'{key}={setting}' for key, setting in options.items()]
    system, image_size = build_system(' '.join(['eclip', *words]), args)
    sizes = argparse.Namespace(batch_size=batch_size, median_tokens=args.median_tokens)
    batch = make_batch(sizes, image_size, 'full' if axis == 'tokens' else 'titles')
    if axis == 'tokens':
        for key in ('input_ids', 'attention_mask'):
            batch['inputs'][key] = batch['inputs'][key][:, :value]
    return lambda: system.step(batch)


def measure(args, axis: str) -> list[dict]:
    """Measure the rows of an axis."""
    on_gpu = args.device.startswith('cuda')
    clock = time.process_time if args.clock == 'cpu' else time.perf_counter

    def seconds(step: Callable[[], None]) -> float:
        start = clock()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - start

    rows = []
    for value in args.values[axis]:
        step = build_step(args, axis, value)
        for _ in range(2):  # warm up
            step()
        row = dict(
            value=value, seconds=statistics.median(seconds(step) for _ in range(args.steps))
        )
        row['gflop'] = count_flops(step) / 1e9
        rows.append(row)
        row['ratio'] = row['seconds'] / rows[0]['seconds']
        row['by_count'] = row['gflop'] / rows[0]['gflop']
        row['time_per_count'] = row['ratio'] / row['by_count']
    return [{key: round(number, 4) for key, number in row.items()} for row in rows]


def main() -> None:
    """Measure the axes one after the other and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='configs/eclip_vitb16.py')
    parser.add_argument('--axes', nargs='+', choices=AXES, default=list(AXES))
    parser.add_argument('--batch-size', type=int, default=24, help='where it is not the axis')
    parser.add_argument('--layers', type=int, help='of both towers; half as many decoder blocks')
    parser.add_argument('--precision', choices=('bf16', 'fp32'), default='bf16')
    parser.add_argument('--median-tokens', type=float, default=24, help='median of the titles')
    parser.add_argument('--steps', type=int, default=5, help='timed, after two for warming up')
    parser.add_argument('--clock', choices=('wall', 'cpu'), default='wall')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--tiny', action='store_true', help='a small model and two values an axis')
    args = parser.parse_args()
    args.values = {axis: values for axis, (values, _) in AXES.items()}
    if args.tiny:
        args.config, args.values = 'configs/demo/eclip_tiny_synthetic.py', TINY
    result = {}
    print(f'{"axis":8} {"value":>6} {"s/step":>8} {"ratio":>7} {"by count":>9} {"time/count":>11}')
    for axis in args.axes:
        result[axis] = measure(args, axis)
        for row in result[axis]:
            print(
                f'{axis:8} {row["value"]:6} {row["seconds"]:8.3f} {row["ratio"]:7.3f} '
                f'{row["by_count"]:9.3f} {row["time_per_count"]:11.3f}',
                flush=True,
            )
    settings = {k: getattr(args, k) for k in ('config', 'layers', 'batch_size', 'precision')}
    print(json.dumps(dict(settings, threads=torch.get_num_threads(), axes=result)))


if __name__ == '__main__':
    main()
