"""Products a second that the model of an embedding computes, without decoding and writing.

    python benchmarks/embedding_rate.py                                   # ViT-B/16
    python benchmarks/embedding_rate.py configs/demo/eclip_tiny_synthetic.py --clock cpu

A product has one picture and a title, and gets its image, text and instance feature, with and
without bf16. The rounds of the two alternate. The last line is JSON.
"""

import argparse
import json
import statistics
import time

import torch
from step_systems import build_system, make_batch

from eclip_mm.embedding.features import FEATURES, ProductEmbedder
from eclip_mm.embedding.products import Block, Product


def make_block(args, image_size: int) -> Block:
    """Make a block of products with random content."""
    inputs = make_batch(args, image_size, 'titles')['inputs']
    products = [Product(k, str(k), None, {}, [0], ['merchant']) for k in range(args.batch_size)]
    images = inputs['images'][:, 0].contiguous()
    return Block(
        len(products), products, [], images, inputs['input_ids'], inputs['attention_mask']
    )


def main() -> None:
    """Measure both precisions and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='configs/eclip_vitb16.py')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--layers', type=int, help='of both towers; half as many decoder blocks')
    parser.add_argument('--median-tokens', type=float, default=24, help='median of the titles')
    parser.add_argument('--steps', type=int, default=5, help='rounds, after a warm-up of one')
    parser.add_argument('--clock', choices=('wall', 'cpu'), default='wall')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    args.precision = 'bf16'
    system, image_size = build_system('eclip', args)
    block = make_block(args, image_size)
    model = system.model.eval()
    clock = time.process_time if args.clock == 'cpu' else time.perf_counter
    embedders = {
        name: ProductEmbedder(model, FEATURES, args.batch_size, amp)
        for name, amp in (('fp32', False), ('bf16', True))
    }
    seconds = {name: [] for name in embedders}
    for _ in range(args.steps + 1):
        for name, embed in embedders.items():
            start = clock()
            embed(block)  # the features are on the CPU in the end
            seconds[name].append(clock() - start)
    rates = {
        name: round(args.batch_size / statistics.median(found[1:]), 2)
        for name, found in seconds.items()
    }
    for name, rate in rates.items():
        print(f'{name}: {rate} products a second')
    print(json.dumps(dict(config=args.config, batch_size=args.batch_size, per_second=rates)))


if __name__ == '__main__':
    main()
