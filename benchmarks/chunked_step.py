"""Cost of a chunked training step: time and memory compared with the whole batch at once.

    python benchmarks/chunked_step.py                                     # a small model
    python benchmarks/chunked_step.py configs/eclip_vitb16.py --batch-size 128 --chunk-size 32
    python benchmarks/chunked_step.py --large 6400                        # and the paper's batch

By count (student forward 1, its backward 2, momentum model 1) the second student forward turns 4
into 5. Each variant runs in its own process. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import time

import torch
from memory import peak, reset_peak, resident
from mmengine.registry import init_default_scope

from eclip_mm.config.from_checkpoint import without_pretrained
from eclip_mm.config.loading import load_config
from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch


def measure(args, batch_size: int, chunk_size: int | None) -> dict:
    """Measure the fastest of ``args.steps`` steps and their memory above the model's."""
    cfg = load_config(args.config)
    init_default_scope('eclip_mm')
    model_cfg = dict(without_pretrained(cfg.model), chunk_size=chunk_size)
    torch.manual_seed(0)
    model = MODELS.build(model_cfg).to(args.device).train()
    optim = PretrainOptimWrapperConstructor(
        {k: v for k, v in cfg.optim_wrapper.items() if k != 'constructor'}
    )(model)
    batch = fake_batch(
        batch_size, image_size=cfg.model.image_encoder.config.image_size, num_tokens=55
    )
    on_gpu = args.device.startswith('cuda')
    if not on_gpu:
        reset_peak()  # making the batch needed more
    before = torch.cuda.memory_allocated() if on_gpu else resident()
    seconds = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        model.train_step(batch, optim)
        model.update_teacher(progress=0.0)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    most = torch.cuda.max_memory_allocated() if on_gpu else peak()
    return dict(
        seconds=round(min(seconds[1:]), 3), peak_above_model_gib=round((most - before) / 2**30, 3)
    )


def main() -> None:
    """Measure the variants, each in its own process, and print the ratios of the first two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='configs/demo/eclip_tiny_synthetic.py')
    parser.add_argument('--batch-size', type=int, default=192)
    parser.add_argument('--chunk-size', type=int, default=24)
    parser.add_argument('--large', type=int, help='products of a further run, only in chunks')
    parser.add_argument('--steps', type=int, default=3, help='timed steps, after one warm-up')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--way', choices=('whole', 'chunks', 'large'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        batch_size = args.large if args.way == 'large' else args.batch_size
        chunk_size = None if args.way == 'whole' else args.chunk_size
        print(json.dumps(measure(args, batch_size, chunk_size)))
        return
    result = dict(config=args.config, batch=args.batch_size, chunk=args.chunk_size)
    ways = ['whole', 'chunks']
    if args.large:
        ways.append('large')
        result['large_batch'] = args.large
    for way in ways:
        command = [sys.executable, *sys.argv, '--way', way]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result[way] = json.loads(out.splitlines()[-1])
        print(f'{way}: {result[way]}', flush=True)
    for key in result['whole']:
        result[f'{key}_ratio'] = round(result['chunks'][key] / result['whole'][key], 3)
    print(json.dumps(result))


if __name__ == '__main__':
    main()
