"""Draw the features of several checkpoints in the plane, side by side (Figure 5).

All checkpoints get the same pictures: 50 products with up to 100 pictures each, spread evenly over
the catalogue. The text below each plane says how well the features separate the products: the
silhouette by cosine, and how often the nearest neighbour has the same product. Both are measured
on the features, not in the plane.

This command generates a catalogue with enough pictures per product. It has the products of
configs/demo/eclip_tiny_synthetic.py, with 100 merchant pictures, of which the training has seen
two, and 100 new photos:

    python tools/dataset_converters/synthetic.py data/tsne --num-products 64 \\
        --num-heldout-products 16 --merchant 100 --comment 60 --video 40 --heldout-photos 6 \\
        --num-shapes 10 --num-colours 8 --num-others 2 2 --object-scale 0.32 0.46 \\
        --image-size 80 --attributes
    models="--model CLIP configs/demo/clip_tiny_synthetic.py clip/epoch_8.pth
        --model ECLIP configs/demo/eclip_tiny_synthetic.py eclip/epoch_8.pth"
    python tools/analysis_tools/draw_tsne.py tsne.png $models \\
        --catalogue data/tsne/train.parquet --sources merchant

A photo shows three products, and the picture alone does not say which one is meant. The instance
feature is prompted with the title, which all pictures of a product share. A CLIP model has no
instance feature and gives the feature of the picture:

    python tools/analysis_tools/draw_tsne.py tsne_photos.png $models --catalogue \\
        data/tsne/train.parquet --sources comment video --feature pred_instance_feat

Needs scikit-learn: pip install -e '.[analysis]'
"""

import argparse

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.text_table import format_table


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', help='picture to write')
    parser.add_argument(
        '--model',
        nargs=3,
        action='append',
        required=True,
        metavar=('LABEL', 'CONFIG', 'CHECKPOINT'),
        help='model of one panel, with the config of its training; repeat for more panels',
    )
    parser.add_argument('--catalogue', required=True)
    parser.add_argument(
        '--sources', nargs='+', help='use only pictures of these sources, such as merchant'
    )
    parser.add_argument('--products', type=int, default=50)
    parser.add_argument(
        '--samples', type=int, default=100, help='maximal number of pictures of a product'
    )
    parser.add_argument(
        '--feature',
        choices=['pred_image_feat', 'pred_instance_feat'],
        default='pred_image_feat',
        help='feature of the picture alone (the default), or of picture and title',
    )
    parser.add_argument('--perplexity', type=float, default=30.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--title', default='')
    parser.add_argument('--num-workers', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    return parser.parse_args()


def main():
    args = parse_args()
    from eclip_mm.apis import draw_tsne, load_config_and_model
    from eclip_mm.config.from_checkpoint import saved_pipeline
    from eclip_mm.datasets import ProductImageDataset
    from eclip_mm.utils.env_check import check_analysis

    check_analysis()  # before the minutes that features take
    models = {}
    for label, config, checkpoint in args.model:
        cfg, model = load_config_and_model(config, checkpoint, device=args.device)
        pipeline = saved_pipeline(cfg, config, checkpoint)
        dataset = ProductImageDataset(args.catalogue, pipeline, sources=args.sources)
        models[label] = (model, dataset)
    figures = draw_tsne(
        models,
        args.out,
        args.products,
        args.samples,
        args.feature,
        args.perplexity,
        args.seed,
        args.title,
        num_workers=args.num_workers,
    )
    rows = [[label, *values.values()] for label, values in figures.items()]
    print(format_table(['model', *next(iter(figures.values()))], rows))
    print(args.out)


if __name__ == '__main__':
    run_command(main)
