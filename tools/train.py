"""Train a model.

    python tools/train.py configs/eclip_vitl16.py \\
        --cfg-options train_dataloader.dataset.catalogue=my/catalogue.parquet
"""

import argparse

from eclip_mm.utils.arguments import add_launch_arguments
from eclip_mm.utils.command import CommandParser, run_command


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from a checkpoint; without a path, from the last one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='train with bf16 autocast')
    add_launch_arguments(parser, 'logs and checkpoints')
    return parser.parse_args()


def main():
    args = parse_args()
    from eclip_mm.checkpoint import use_resumed_checkpoint
    from eclip_mm.config import (
        add_needed_hooks,
        allow_accumulation,
        apply_launch_arguments,
        fill_architecture,
        load_config,
        name_config_in_errors,
        prepare_cpu_launch,
        use_feature_cache,
    )
    from eclip_mm.engine.detector_config import complete_detector
    from eclip_mm.registry import RUNNERS
    from eclip_mm.utils.dist import leave_process_group

    cfg = load_config(args.config, args.cfg_options)
    apply_launch_arguments(cfg, args)
    if args.amp:
        cfg.optim_wrapper.type = 'eclip_mm.BF16OptimWrapper'  # also in mmdet's scope
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
        use_resumed_checkpoint(cfg)
    use_feature_cache(cfg)
    add_needed_hooks(cfg)
    cfg.setdefault('runner_type', 'eclip_mm.BriefRunner')
    prepare_cpu_launch(cfg)
    allow_accumulation(cfg)
    with name_config_in_errors(args.config):
        fill_architecture(cfg.model)
        complete_detector(cfg)
        RUNNERS.build(cfg).train()
    leave_process_group()


if __name__ == '__main__':
    run_command(main)
