"""Draw where a checkpoint looks for each product of a config's test set.

python tools/analysis_tools/draw_score_maps.py CONFIG CHECKPOINT sheet.png
"""

import argparse

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from eclip_mm.apis import draw_score_maps, load_model, spread_indices
from eclip_mm.registry import DATASETS
from eclip_mm.utils.config import load_config


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='picture to write')
    parser.add_argument('--num', type=int, default=12, help='photos, spread over the test set')
    parser.add_argument('--columns', type=int, default=3)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope('eclip_mm')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = load_model(cfg, args.checkpoint)
    sheet = draw_score_maps(
        model,
        dataset,
        spread_indices(len(dataset), args.num),
        title=args.checkpoint,
        columns=args.columns,
    )
    sheet.save(args.out)
    print(f'{args.out}: {args.num} of {len(dataset)} photos')


if __name__ == '__main__':
    main()
