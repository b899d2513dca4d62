"""Evaluate a checkpoint and report every figure with its 95% interval and chance level.

The config names test set and metrics. It is a training config, or a config
without a model (configs/evaluation), which takes model, pipeline and tokenizer
from the checkpoint. The table is printed and written to table.md and
metrics.json.

    python tools/test.py configs/demo/eclip_tiny_synthetic.py CHECKPOINT
    python tools/test.py configs/evaluation/tables.py CHECKPOINT \\
        --catalogue my/catalogue.parquet --queries my/photos_of_several_products.parquet
    python tools/test.py configs/detection/eclip_detr_tiny_snacks.py CHECKPOINT --show-dir found
"""

import argparse

from eclip_mm.utils.arguments import add_launch_arguments
from eclip_mm.utils.command import CommandParser, run_command


def parse_args():
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file of a training, or one of configs/evaluation')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--catalogue', help='catalogue wherever the config has catalogue=None')
    parser.add_argument(
        '--queries', help="catalogue wherever the config has catalogue='--queries' (Table 3)"
    )
    parser.add_argument(
        '--show-dir', help='for detection: draw boxes into this folder of the work dir'
    )
    add_launch_arguments(parser, 'the results')
    return parser.parse_args()


def main():
    args = parse_args()
    from mmengine.dist import is_main_process

    from eclip_mm.config import (
        add_needed_hooks,
        apply_launch_arguments,
        complete_from_checkpoint,
        draw_detections,
        explain_checkpoint_errors,
        fill_architecture,
        load_config,
        name_config_in_errors,
        prepare_cpu_launch,
        read_saved_detector,
        use_feature_cache,
    )
    from eclip_mm.engine import BriefRunner
    from eclip_mm.engine.detector_config import complete_detector
    from eclip_mm.utils.dist import leave_process_group
    from eclip_mm.visualization.table import write_metrics

    saved = {}

    def complete(cfg):
        saved.update(complete_from_checkpoint(cfg, args.catalogue, args.checkpoint, args.queries))

    with name_config_in_errors(args.config):
        cfg = load_config(args.config, args.cfg_options, complete)
        apply_launch_arguments(cfg, args)
        cfg.load_from, cfg.resume = None, False
        if args.show_dir:
            draw_detections(cfg, args.show_dir)
        use_feature_cache(cfg)
        add_needed_hooks(cfg)
        prepare_cpu_launch(cfg)
        with explain_checkpoint_errors(cfg, saved):
            if 'backbone' in cfg.model:
                detector = read_saved_detector(args.checkpoint)
                fill_architecture(cfg.model, detector)
                complete_detector(cfg, detector)
            runner = BriefRunner.from_cfg(cfg)
            # strict, because figures of weights that were not loaded mean nothing
            runner.load_checkpoint(args.checkpoint, strict=True)
        metrics = runner.test()
    if is_main_process():
        print(write_metrics(metrics, cfg.work_dir, f'{args.checkpoint}, {args.config}'))
    leave_process_group()


if __name__ == '__main__':
    run_command(main)
