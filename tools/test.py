"""Evaluate a checkpoint: every figure with its 95% interval and chance.

With the test set and metrics of a training config, or of a config without a
model (configs/evaluation), which takes model, pipeline and tokenizer from the
checkpoint. The table is printed and written to table.md and metrics.json.

    python tools/test.py configs/demo/eclip_tiny_synthetic.py CHECKPOINT
    python tools/test.py configs/evaluation/tables.py CHECKPOINT \\
        --catalogue my/catalogue.parquet --queries my/photos_of_several_products.parquet
    python tools/test.py configs/detection/eclip_detr_tiny_snacks.py CHECKPOINT --show-dir found
"""

import argparse

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from eclip_mm.config.detection import draw_detections, fill_architecture, read_saved_detector
from eclip_mm.config.from_checkpoint import complete_from_checkpoint, explaining_checkpoint
from eclip_mm.config.launch import add_launch_arguments, apply_launch_arguments, prepare_cpu_launch
from eclip_mm.config.loading import load_config, naming_config
from eclip_mm.utils.dist import leave_process_group
from eclip_mm.visualization.table import write_metrics


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file, of a training or of configs/evaluation')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--catalogue', help='what the config leaves open with catalogue=None is this one'
    )
    parser.add_argument(
        '--queries', help="what the config leaves open with catalogue='--queries', for Table 3"
    )
    parser.add_argument('--show-dir', help='detection: folder in the work dir for drawn boxes')
    add_launch_arguments(parser, 'the results')
    return parser.parse_args()


def main():
    args = parse_args()
    saved = {}

    def complete(cfg):
        saved.update(complete_from_checkpoint(cfg, args.catalogue, args.checkpoint, args.queries))

    with naming_config(args.config):
        cfg = load_config(args.config, args.cfg_options, complete)
        apply_launch_arguments(cfg, args)
        cfg.load_from, cfg.resume = None, False
        if args.show_dir:
            draw_detections(cfg, args.show_dir)
        prepare_cpu_launch(cfg)
        with explaining_checkpoint(cfg, saved):
            if 'backbone' in cfg.model:
                fill_architecture(cfg.model, read_saved_detector(args.checkpoint))
            runner = Runner.from_cfg(cfg)
            # strictly: figures of weights that were not loaded mean nothing
            runner.load_checkpoint(args.checkpoint, strict=True)
        metrics = runner.test()
    if is_main_process():
        print(write_metrics(metrics, cfg.work_dir, f'{args.checkpoint}, {args.config}'))
    leave_process_group()


if __name__ == '__main__':
    main()
