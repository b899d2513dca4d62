"""Write the adapters (LoRA) of a checkpoint in peft's format, or a checkpoint without them.

    python tools/export_lora.py work_dirs/NAME/epoch_5.pth adapters/
    python tools/export_lora.py work_dirs/NAME/epoch_5.pth merged.pth --merge

The first writes adapters/image_encoder and adapters/text_encoder, which
peft.PeftModel.from_pretrained puts onto the towers that the training began with. The second adds
the adapters to the weights: the new checkpoint is that of a model without model.lora.
"""

import argparse

from eclip_mm.utils.command import CommandParser, run_command


def parse_args() -> argparse.Namespace:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='folder of the adapters; with --merge, the new checkpoint')
    parser.add_argument('--merge', action='store_true', help='write a checkpoint without adapters')
    parser.add_argument(
        '--teacher', action='store_true', help='take the adapters of the momentum model'
    )
    args = parser.parse_args()
    if args.merge and args.teacher:
        parser.error('--merge writes both networks of the checkpoint; leave --teacher out')
    return args


def main() -> None:
    args = parse_args()
    from eclip_mm.checkpoint.export import export_adapters, export_merged

    if args.merge:
        export_merged(args.checkpoint, args.out)
        print(args.out)
        return
    prefix = 'teacher.network.' if args.teacher else 'network.'
    for folder in export_adapters(args.checkpoint, args.out, prefix):
        print(folder)


if __name__ == '__main__':
    run_command(main)
