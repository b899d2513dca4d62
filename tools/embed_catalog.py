"""Write the features of a catalogue to Parquet shards (docs/embedding.md describes the columns).

    python tools/embed_catalog.py CONFIG CHECKPOINT my/catalogue.parquet my/features

After an interruption, the same command continues with the shards that are missing. On a cluster,
it runs through Ray Data (pip install -e '.[ray]') if all machines see all paths:

    python tools/embed_catalog.py CONFIG CHECKPOINT my/catalogue.parquet my/features \\
        --ray auto --models 32 --num-workers 8
"""

import argparse
import json

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the training, or embed.py')
    parser.add_argument('checkpoint', help='checkpoint, or folder of tools/export.py')
    parser.add_argument(
        'catalogue',
        nargs='+',
        help='files, folders of .parquet files, or patterns; paths, or addresses such as s3://...',
    )
    parser.add_argument('out', help='folder of the shards')
    features = ['image', 'text', 'instance']
    parser.add_argument(
        '--features', nargs='+', choices=features, default=features, help='default: all'
    )
    parser.add_argument(
        '--per',
        nargs='+',
        choices=['product', 'picture'],
        default=['product'],
        help='write image and instance features of each product (the mean of its pictures), of '
        'each picture, or both',
    )
    parser.add_argument(
        '--sources', nargs='+', help='use only pictures of these sources, such as merchant'
    )
    parser.add_argument('--rows-per-shard', type=int, default=4096, help='default: 4096')
    parser.add_argument('--batch-size', type=int, default=64, help='default: 64')
    parser.add_argument(
        '--num-workers',
        type=int,
        help='decoding processes per model; default: up to 8 beside a GPU, else 0',
    )
    parser.add_argument(
        '--device', help='device of the model, such as cuda or cpu; default: a GPU if there is one'
    )
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument('--amp', action='store_true', help='compute in bf16 (autocast)')
    precision.add_argument(
        '--amp-if-faster',
        dest='amp',
        action='store_const',
        const=None,
        default=False,
        help='compute in bf16 if the device is faster with it, and say so',
    )
    parser.add_argument(
        '--storage-options',
        type=json_object,
        metavar='JSON',
        help='options of the file system of the catalogue, such as \'{"anon": true}\'',
    )
    parser.add_argument(
        '--ray',
        nargs='?',
        const='local',
        metavar='ADDRESS',
        help='run through Ray Data on the cluster at ADDRESS (auto: the one of this machine); '
        'without ADDRESS, on a cluster started here',
    )
    parser.add_argument(
        '--models', type=int, default=1, help='number of workers with a model, with --ray'
    )
    return parser.parse_args()


def json_object(text):
    """A JSON object as a dict."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is not a JSON object such as {{"anon": true}}')
    return value


def main():
    args = vars(parse_args())
    from eclip_mm.embedding import EmbedOptions, embed_catalogue

    address, num_models = args.pop('ray'), args.pop('models')
    run = None
    if address is not None:
        from eclip_mm.embedding.cluster import RayRun

        run = RayRun(address, num_models)
    args['features'], args['per'] = tuple(args['features']), tuple(args['per'])
    summary = embed_catalogue(EmbedOptions(**args), run, show_progress)
    print(', '.join(f'{value} {key.replace("_", " ")}' for key, value in summary.items()))
    if summary['skipped'] or summary['skipped_pictures']:
        print(f'{args["out"]}/_skipped-*.jsonl names what was skipped, and why')


def show_progress(counts, total, done):
    return tqdm(counts, total=total, initial=done, desc='embedding', unit='shard')


if __name__ == '__main__':
    run_command(main)
