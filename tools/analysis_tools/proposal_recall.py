"""Measure the fraction of a catalogue's annotated boxes that a proposer finds.

    python tools/analysis_tools/proposal_recall.py data/synthetic/photos.parquet --size 64
    python tools/analysis_tools/proposal_recall.py data/snacks/val.parquet --size 96 \\
        --proposer cells=14 num_proposals=200
"""

import argparse
import time

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.options import OptionAction
from eclip_mm.utils.text_table import format_table


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('catalogue', help='catalogue with boxes')
    parser.add_argument('--size', type=int, help='side of the pictures; default: as stored')
    parser.add_argument('--num', type=int, default=200, help='photos, spread over the catalogue')
    parser.add_argument('--sources', nargs='+', help='only pictures of these sources')
    parser.add_argument(
        '--proposer',
        nargs='+',
        action=OptionAction,
        default={},
        help='key=value of its config; the default type is RegionProposer',
    )
    parser.add_argument('--iou-thrs', nargs='+', type=float, default=[0.5, 0.7])
    parser.add_argument('--counts', nargs='+', type=int, default=[10, 50, 100])
    return parser.parse_args()


def no_text(results: dict) -> dict:
    """Replace TokenizeText, as no proposer reads tokens."""
    return dict(results, input_ids=[])


def main():
    args = parse_args()
    import numpy as np
    from mmengine.registry import init_default_scope

    from eclip_mm.apis import spread_indices
    from eclip_mm.datasets import ProductImageDataset
    from eclip_mm.evaluation.proposals.recall import proposal_recall
    from eclip_mm.registry import TASK_UTILS

    init_default_scope('eclip_mm')
    proposer = TASK_UTILS.build({'type': 'RegionProposer', **args.proposer})
    resize = [dict(type='Resize', size=args.size)] if args.size else []
    dataset = ProductImageDataset(
        args.catalogue,
        [dict(type='LoadProductImages'), *resize, no_text, dict(type='PackProductInputs')],
        sources=args.sources,
    )
    photos, seconds = [], []
    for index in tqdm(spread_indices(len(dataset), args.num), unit=' photos'):
        item = dataset[index]
        sample = item['data_samples'].to_dict()
        start = time.process_time()
        boxes = proposer(sample, item['inputs']['images'][0])
        seconds.append(time.process_time() - start)
        photos.append((boxes, sample['object_bboxes'], sample['img_shape']))
    recall = proposal_recall(photos, args.iou_thrs, args.counts)
    rows = [
        [f'recall@{thr}', *map(float, row)] for thr, row in zip(args.iou_thrs, recall, strict=True)
    ]
    print(format_table(['', *(f'{n} boxes' for n in args.counts)], rows))
    num_proposals = np.mean([len(boxes) for boxes, _, _ in photos])
    print(
        f'{len(photos)} photos of {args.catalogue}; {num_proposals:.0f} proposals per photo in '
        f'{1000 * np.mean(seconds):.0f} ms of CPU time'
    )


if __name__ == '__main__':
    run_command(main)
