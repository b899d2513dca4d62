"""Write a trained model as one folder that others can use (docs/use.md).

    python tools/export.py CHECKPOINT my_model
    python tools/export.py CHECKPOINT my_model --metrics metrics.json --licence apache-2.0
    python tools/export.py CHECKPOINT my_model --onnx --verify my/catalogue.parquet

The folder holds weights, config, tokenizer, their sha256 sums and a model card, and no code. It is
read again before it gets its name: it gives the vectors of the checkpoint, or is not there. ONNX
graphs are compared with the weights on a catalogue, and a folder with others is not there either.
"""

import argparse

from eclip_mm.utils.command import CommandParser, run_command


def parse_args() -> argparse.Namespace:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument('folder', help='is made, and must not be there')
    parser.add_argument(
        '--metrics', metavar='JSON', help='metrics.json of tools/test.py, for the card'
    )
    parser.add_argument(
        '--licence',
        metavar='SPDX',
        help='licence of the weights, such as apache-2.0, for the card',
    )
    parser.add_argument('--force', action='store_true', help='replace an earlier export')
    parser.add_argument(
        '--onnx',
        nargs='?',
        const='fp32',
        choices=['fp32', 'fp16', 'int8'],
        help='add ONNX graphs (extra onnx); needs --verify. Default: fp32',
    )
    parser.add_argument(
        '--verify',
        nargs='+',
        metavar='CATALOGUE',
        help='at least 200 pictures with texts, on which graphs and weights are compared',
    )
    parser.add_argument(
        '--max-loss',
        type=float,
        default=0.02,
        help='how much recall, and how many similar boxes, fp16 and int8 may lose; default: 0.02',
    )
    args = parser.parse_args()
    if bool(args.onnx) != bool(args.verify):
        parser.error('--onnx needs --verify, and --verify needs it')
    return args


def main() -> None:
    args = parse_args()
    from eclip_mm.apis.model_export import OnnxOptions, export_model
    from eclip_mm.checkpoint.towers.folder import count_megabytes

    onnx = OnnxOptions(args.verify, args.onnx, args.max_loss) if args.onnx else None
    folder = export_model(
        args.checkpoint, args.folder, args.metrics, args.licence, args.force, onnx
    )
    print(f'{folder}: {count_megabytes(folder):.1f} MB; README.md is its card')


if __name__ == '__main__':
    run_command(main)
