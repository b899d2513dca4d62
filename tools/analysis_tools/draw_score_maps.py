"""Draw score maps of a checkpoint for photos of a config's test set.

    python tools/analysis_tools/draw_score_maps.py CONFIG CHECKPOINT sheet.png

CONFIG is that of the training or one of configs/evaluation. The sheet ranks boxes as the config's
ProductGrounding does; --proposer type=NAME key=value ... ranks other boxes.
"""

import argparse

from eclip_mm.utils.arguments import add_picture_arguments
from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.options import OptionAction


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_picture_arguments(parser)
    parser.add_argument('--num', type=int, default=12, help='photos, spread over the test set')
    parser.add_argument('--columns', type=int, default=3)
    parser.add_argument('--ranked', type=int, default=3, help='boxes drawn on each photo')
    parser.add_argument('--proposer', nargs='+', action=OptionAction, help='boxes to rank instead')
    return parser.parse_args()


def main():
    args = parse_args()
    from eclip_mm.apis import draw_score_maps, load_config_and_model, spread_indices
    from eclip_mm.registry import DATASETS

    cfg, model = load_config_and_model(
        args.config, args.checkpoint, args.cfg_options, args.catalogue, args.device
    )
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    indices = spread_indices(len(dataset), args.num)
    sheet = draw_score_maps(
        model,
        dataset,
        indices,
        title=args.checkpoint,
        columns=args.columns,
        evaluator=cfg.get('test_evaluator') or (),
        candidates=args.proposer,
        num_ranked=args.ranked,
    )
    sheet.save(args.out)
    print(f'{args.out}: {len(indices)} of {len(dataset)} photos')


if __name__ == '__main__':
    run_command(main)
