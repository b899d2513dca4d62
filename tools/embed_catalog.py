"""Write the features of a catalogue to Parquet shards (docs/embedding.md has their columns).

    python tools/embed_catalog.py CONFIG CHECKPOINT my/catalogue.parquet my/features

Interrupted, the same command goes on with the shards that are missing. On a cluster, through Ray
Data (pip install -e '.[ray]'), with all paths seen by all machines:

    python tools/embed_catalog.py CONFIG CHECKPOINT my/catalogue.parquet my/features \\
        --ray auto --models 32 --num-workers 8
"""

import argparse

from tqdm import tqdm

from eclip_mm.embedding import FEATURES, EmbedOptions, embed_catalogue


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the training, or one of configs/evaluation')
    parser.add_argument('checkpoint')
    parser.add_argument('catalogue', nargs='+', help='files, or folders of .parquet files')
    parser.add_argument('out', help='folder of the shards')
    parser.add_argument('--features', nargs='+', choices=FEATURES, default=FEATURES)
    parser.add_argument(
        '--per',
        nargs='+',
        choices=['product', 'picture'],
        default=['product'],
        help='image and instance features of each product (the mean of its pictures), of each '
        'picture, or both',
    )
    parser.add_argument('--sources', nargs='+', help='only pictures of these, such as merchant')
    parser.add_argument('--rows-per-shard', type=int, default=EmbedOptions.rows_per_shard)
    parser.add_argument('--batch-size', type=int, default=EmbedOptions.batch_size)
    parser.add_argument('--num-workers', type=int, default=0, help='decoding processes per model')
    parser.add_argument('--device', help='such as cuda or cpu; default: a GPU where there is one')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument(
        '--ray',
        nargs='?',
        const='local',
        metavar='ADDRESS',
        help='through Ray Data: on the cluster at ADDRESS (auto: the one this machine is in), '
        'without it on one started here',
    )
    parser.add_argument('--models', type=int, default=1, help='workers with a model, with --ray')
    return parser.parse_args()


def main():
    args = vars(parse_args())
    address, num_models = args.pop('ray'), args.pop('models')
    run = None
    if address is not None:
        from eclip_mm.embedding.cluster import RayRun

        run = RayRun(address, num_models)
    args['features'], args['per'] = tuple(args['features']), tuple(args['per'])
    summary = embed_catalogue(EmbedOptions(**args), run, show_progress)
    print(', '.join(f'{value} {key.replace("_", " ")}' for key, value in summary.items()))
    if summary['skipped'] or summary['skipped_pictures']:
        print(f'what was skipped, and why: {args["out"]}/_skipped-*.jsonl')


def show_progress(counts, total, done):
    return tqdm(counts, total=total, initial=done, desc='embedding', unit='shard')


if __name__ == '__main__':
    main()
