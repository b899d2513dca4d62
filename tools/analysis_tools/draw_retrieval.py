"""Draw queries of each test split and the first results that a checkpoint finds.

    python tools/analysis_tools/draw_retrieval.py CONFIG CHECKPOINT sheet.png
    python tools/analysis_tools/draw_retrieval.py CONFIG CHECKPOINT sheet.png \\
        --splits photos --protocol m5 --feature pred_image_feat

CONFIG is that of the training or one of configs/evaluation. Queries are spread evenly over the
split, which is also the gallery. With several splits each has its own picture: sheet_photos.png,
...
"""

import argparse
from pathlib import Path

from eclip_mm.utils.arguments import add_picture_arguments
from eclip_mm.utils.command import CommandParser, run_command


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_picture_arguments(parser)
    parser.add_argument('--num', type=int, default=8, help='number of queries')
    parser.add_argument('--results', type=int, default=10, help='results of each query')
    parser.add_argument(
        '--protocol',
        choices=['fine', 'm5'],
        default='fine',
        help='right results have the same product (fine, the default) or category (m5)',
    )
    parser.add_argument(
        '--feature',
        choices=['pred_instance_feat', 'pred_image_feat'],
        default='pred_instance_feat',
        help='feature of picture and title (the default), or of the picture alone',
    )
    parser.add_argument('--splits', nargs='+', help='splits of the test set; default: all')
    parser.add_argument('--num-workers', type=int, default=0)
    return parser.parse_args()


def main():
    args = parse_args()
    from eclip_mm.apis import NothingToFind, draw_retrieval, load_config_and_model, split_datasets
    from eclip_mm.registry import DATASETS

    cfg, model = load_config_and_model(
        args.config, args.checkpoint, args.cfg_options, args.catalogue, args.device
    )
    whole = DATASETS.build(cfg.test_dataloader.dataset)
    datasets = split_datasets(whole)
    splits = args.splits or list(datasets)
    if unknown := [split for split in splits if split not in datasets]:
        raise SystemExit(f'{args.config}: no test split {unknown[0]!r}; one of {list(datasets)}')
    for split in splits:
        out = Path(args.out)
        if len(splits) > 1:
            out = out.with_name(f'{out.stem}_{split}{out.suffix}')
        try:
            sheet = draw_retrieval(
                model,
                datasets[split],
                args.num,
                args.results,
                args.protocol,
                args.feature,
                title=f'{split}, {args.checkpoint}' if split else args.checkpoint,
                num_workers=args.num_workers,
                names_from=whole,
            )
        except NothingToFind as error:
            if args.splits:  # asked for by name
                raise
            print(f'{split}: no sheet, {error}')
            continue
        sheet.save(out)
        print(f'{out}: {args.num} queries among {len(datasets[split])} pictures')


if __name__ == '__main__':
    run_command(main)
