"""Time and peak memory of real optimiser steps of a config, on random pictures.

    python tools/analysis_tools/time_steps.py configs/eclip_vitb16.py --batch-size 24
    python tools/analysis_tools/time_steps.py configs/eclip_vitb16.py --batch-size 200 --steps 200

The weights are random, so no pretrained model is needed. The pictures are made
once, so that the program measures the step and not the loading of data.
"""

import argparse
import resource
import time
from types import SimpleNamespace

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.options import OptionAction


def parse_args():
    parser = CommandParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--batch-size', type=int, default=24)
    parser.add_argument('--steps', type=int, default=1, help='timed steps, after one warm-up')
    parser.add_argument('--num-tokens', type=int, default=55)
    parser.add_argument(
        '--dual',
        metavar='MODEL_TYPE',
        help='of pretrained_dual: clip, siglip, ... of its usual size',
    )
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    return parser.parse_args()


def peak_memory_gib(device: str) -> float:
    """Return the peak of the GPU's allocator, or of this process's resident memory."""
    import torch

    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux


def main():
    args = parse_args()
    import torch
    from mmengine.registry import init_default_scope

    from eclip_mm.config.from_checkpoint import without_pretrained
    from eclip_mm.config.loading import load_config
    from eclip_mm.engine import PretrainOptimWrapperConstructor
    from eclip_mm.registry import HOOKS, MODELS
    from eclip_mm.testing import fake_batch

    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope('eclip_mm')
    torch.manual_seed(0)
    if args.dual:
        cfg.model.pretrained_dual = dict(model_type=args.dual, config={})
    model = MODELS.build(without_pretrained(cfg.model)).to(args.device).train()
    hook = dict(cfg.default_hooks.get('compile') or dict(type='CompileHook'))
    HOOKS.build(hook).before_train(SimpleNamespace(model=model))
    optim_cfg = {k: v for k, v in cfg.optim_wrapper.items() if k != 'constructor'}
    optim_wrapper = PretrainOptimWrapperConstructor(optim_cfg)(model)

    (size,) = {t.size for t in cfg.train_dataloader.dataset.pipeline if 'size' in t}
    batch = fake_batch(args.batch_size, image_size=size, num_tokens=args.num_tokens)

    def step():
        log = model.train_step(batch, optim_wrapper)
        model.update_teacher(progress=0.0)
        if args.device.startswith('cuda'):
            torch.cuda.synchronize()
        return log

    start = time.perf_counter()
    log = step()
    first = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(args.steps):
        log = step()
    each = (time.perf_counter() - start) / args.steps

    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    wrapper = type(optim_wrapper).__name__
    print(f'{args.config} on {args.device}, {wrapper}, batch {args.batch_size}')
    print(f'  trained parameters  {trained / 1e6:.1f} M')
    print(f'  loss                {float(log["loss"]):.3f}')
    print(f'  first step          {first:.2f} s')
    print(
        f'  a step              {each:.2f} s (mean of {args.steps}), '
        f'{args.batch_size / each:.1f} products/s'
    )
    print(f'  peak memory         {peak_memory_gib(args.device):.2f} GiB')


if __name__ == '__main__':
    run_command(main)
