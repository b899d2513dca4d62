"""The demo: generate a catalogue, train a tiny ECLIP, evaluate, draw.

    make demo          # or: python tools/demo.py

An interrupted demo resumes where it stopped. A finished one is only evaluated
and drawn again; remove the work dir to train again.
"""

import argparse
import json
import time
from pathlib import Path

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.files import write_whole_text

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ('right_box', 'pointing', 'energy', 'i2t_R@1', 't2i_R@1', 'fine_R@1')


def parse_args():
    parser = CommandParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        'configs',
        nargs='*',
        default=[str(ROOT / 'configs/demo/eclip_tiny_synthetic.py')],
        help='configs to train one after the other and compare',
    )
    parser.add_argument(
        '--work-dir',
        default='demo_output',
        help='folder for logs, checkpoints, table and pictures',
    )
    parser.add_argument('--photos', type=int, default=9, help='photos on each sheet')
    return parser.parse_args()


def train_and_test(cfg, work_dir: Path) -> tuple[dict, str, float]:
    """Train and test a config.

    Returns:
        Metrics of the last checkpoint, its path, and the seconds that training took.
    """
    from eclip_mm.engine import BriefRunner

    cfg.work_dir = str(work_dir)
    cfg.resume = True  # from the last checkpoint in the work dir, if any
    runner = BriefRunner.from_cfg(cfg)
    start = time.time()
    runner.train()
    seconds = time.time() - start
    # the last checkpoint and not the best one, since the validation set is the test set here
    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    return runner.test(), checkpoint, seconds


def draw(cfg, checkpoint: str, work_dir: Path, count: int) -> list[Path]:
    """Draw one sheet of score maps for each split; returns their paths."""
    from eclip_mm.apis import draw_score_maps, load_model, spread_indices
    from eclip_mm.registry import DATASETS

    model, paths = load_model(cfg, checkpoint), []
    for dataset_cfg in cfg.test_dataloader.dataset.datasets:
        dataset = DATASETS.build(dataset_cfg)
        sheet = draw_score_maps(
            model,
            dataset,
            spread_indices(len(dataset), count),
            title=f'{work_dir.name}: held-out {dataset_cfg.split}',
            evaluator=cfg.test_evaluator,
        )
        paths.append(work_dir / f'score_maps_{dataset_cfg.split}.png')
        sheet.save(paths[-1])
    return paths


def main():
    args = parse_args()
    from mmengine.registry import init_default_scope

    from eclip_mm.config import load_config
    from eclip_mm.datasets.synthetic import prepare_catalogue
    from eclip_mm.visualization import metrics_table, plot_curves

    start, out = time.time(), Path(args.work_dir)
    results, runs, pictures = {}, {}, []
    for path in args.configs:
        cfg = load_config(path)
        init_default_scope('eclip_mm')
        name = Path(path).stem
        prepare_catalogue(cfg)
        results[name], checkpoint, seconds = train_and_test(cfg, out / name)
        print(f'{name}: training took {seconds:.0f} s')
        runs[name] = out / name
        pictures += draw(cfg, checkpoint, out / name, args.photos)
    pictures.append(plot_curves(runs, out / 'curves.png', smoothing=0.8))

    keys = [f'{split}/{figure}' for split in cfg.splits for figure in FIGURES]
    table = metrics_table(results, keys)
    write_whole_text(out / 'table.md', metrics_table(results, keys, markdown=True) + '\n')
    write_whole_text(out / 'metrics.json', json.dumps(results, indent=2))
    print('\nphotos: new photos of products of the training; products: new products.')
    print('The model was trained on pictures and titles, without any box.\n')
    print(table)
    print('\nLook at:', *pictures, sep='\n  ')
    print(f'\nall done in {time.time() - start:.0f} s')


if __name__ == '__main__':
    run_command(main)
