"""Calculate what limits the paper's training on 8, 32 and 256 GPUs (docs/scaling.md).

Operations are counted on the model of a config. Everything else is an assumption that an option
changes. Rates of hardware are published peaks times an assumed share.

    python tools/analysis_tools/scaling_calculation.py configs/eclip_vitb16.py
    python tools/analysis_tools/scaling_calculation.py configs/eclip_vitl16_fsdp.py \\
        --global-batch 4096 --recompute --sharded --read-gbytes 1
"""

import argparse
from dataclasses import fields

from scaling_assumptions import Assumptions

from eclip_mm.utils.command import CommandParser, run_command


def parse_args():
    parser = CommandParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=Assumptions.__doc__,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--gpus', type=int, nargs='+', default=[8, 32, 256], help='default: 8 32 256'
    )
    parser.add_argument(
        '--text-tokens', type=int, default=55, help='length of a text, which the paper cuts at 55'
    )
    for field in fields(Assumptions):
        name = f'--{field.name.replace("_", "-")}'
        if field.type is bool:
            parser.add_argument(name, action='store_true')
        else:
            parser.add_argument(
                name, type=field.type, default=field.default, help=f'default: {field.default}'
            )
    args = vars(parser.parse_args())
    return [args.pop(key) for key in ('config', 'gpus', 'text_tokens')], Assumptions(**args)


def column(model, gpus: int, given: Assumptions) -> dict[str, str]:
    """A column of the table: name -> figure, for one number of GPUs."""
    from scaling import (
        GPUS_PER_MACHINE,
        gathered_bytes,
        run_hours,
        step_seconds,
        weight_bytes,
        whole_step,
    )

    seconds = step_seconds(model, gpus, given)
    step, machines = whole_step(seconds), max(1, gpus // GPUS_PER_MACHINE)
    first, second = sorted(seconds, key=lambda key: -seconds[key])[:2]
    read = seconds['reading'] * given.read_gbytes * 1e9
    cores = seconds['decoding'] * given.cores / seconds['compute']
    outside = (machines - 1) / machines / 1e6
    gathered = gathered_bytes(given.global_batch, model.embed_dims, bool(model.teacher_params))
    weights = weight_bytes(model, given.sharded)
    return {
        'products per GPU': f'{given.global_batch / gpus:.0f}',
        'compute, s per step': f'{seconds["compute"]:.3f}',
        'reading, s per step': f'{seconds["reading"]:.3f}',
        'decoding, s per step': f'{seconds["decoding"]:.3f}',
        'weights and gradients, s per step': f'{seconds["weights"]:.4f}',
        'gathers of features, s per step': f'{seconds["gathers"]:.4f}',
        'limit': f'{first}, then {second} ({seconds[second] / seconds[first]:.0%} of it)',
        'step, s': f'{step:.3f}',
        'whole run, hours': f'{run_hours(step, given):.1f}',
        'read per machine, MB/s': f'{read / step / 1e6:.0f}',
        'read per machine if compute is the limit, MB/s': f'{read / seconds["compute"] / 1e6:.0f}',
        'decoding cores per machine if compute is the limit': f'{cores:.0f}',
        'features into a machine, MB per step': f'{outside * gathered:.0f}',
        'weights and gradients into a machine, MB per step': f'{outside * weights:.0f}',
    }


def main():
    (config, gpus, num_tokens), given = parse_args()
    from scaling import count_model, operations

    model = count_model(config, num_tokens)
    print(
        f'{config}: {model.flops / 1e9:.1f} GFLOP forward for a product, '
        f'{operations(model, given) / 1e9:.1f} in a training step; {model.params / 1e6:.0f} M '
        'parameters\n'
    )
    columns = [column(model, number, given) for number in gpus]
    print('| ' + ' | '.join(['', *(f'{number} GPUs' for number in gpus)]) + ' |')
    print('|---' * (len(columns) + 1) + '|')
    for name in columns[0]:
        print('| ' + ' | '.join([name, *(of_number[name] for of_number in columns)]) + ' |')


if __name__ == '__main__':
    run_command(main)
