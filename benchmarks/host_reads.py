"""How often the host waits for the device in a training step, and where.

    python benchmarks/host_reads.py                       # on a GPU: as CUDA reports it
    python benchmarks/host_reads.py --tiny --device cpu   # the calls of read_scalars alone

The last line is JSON.
"""

import argparse
import json
import traceback
import warnings
from collections import Counter

import torch
from step_systems import build_system, make_batch

from eclip_mm.models import stepwise


def count_waits(step) -> Counter:
    """Count the places where a step waits for the GPU."""
    places = Counter()

    def note(*_, **__):
        own = [f for f in traceback.extract_stack() if 'eclip_mm' in f.filename]
        frame = (own or traceback.extract_stack())[-1]
        places[f'{frame.filename}:{frame.lineno} {frame.line}'] += 1

    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('always')
            warnings.showwarning = note
            step()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    return places


def count_calls(step) -> Counter:
    """Count the calls of ``read_scalars``, which is all there is to count on a CPU."""
    places, read = Counter(), stepwise.read_scalars

    def counting(scalars):
        places['read_scalars'] += 1
        return read(scalars)

    stepwise.read_scalars = counting
    try:
        step()
    finally:
        stepwise.read_scalars = read
    return places


def main() -> None:
    """Make two steps, and count in the third."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='configs/eclip_vitb16.py')
    parser.add_argument('--batch-size', type=int, default=24)
    parser.add_argument('--layers', type=int, help='of both towers; half as many decoder blocks')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--tiny', action='store_true', help='the model of the generated demo')
    args = parser.parse_args()
    args.precision, args.median_tokens = 'bf16', 24
    if args.tiny:
        args.config = 'configs/demo/eclip_tiny_synthetic.py'
    system, image_size = build_system('eclip', args)
    batch = make_batch(args, image_size, 'titles')
    for key, value in batch['inputs'].items():
        if args.device.startswith('cuda'):  # as the data loader does
            batch['inputs'][key] = value.pin_memory()
    for _ in range(2):
        system.step(batch)
    count = count_waits if args.device.startswith('cuda') else count_calls
    places = count(lambda: system.step(batch))
    for place, number in places.items():
        print(number, place)
    print(json.dumps(dict(device=args.device, waits=sum(places.values()), places=places)))


if __name__ == '__main__':
    main()
