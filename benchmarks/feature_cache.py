"""A training step with and without a feature cache, data loading included.

    python tools/cache_features.py configs/photos/eclip_lite2_snacks.py
    python benchmarks/feature_cache.py configs/photos/eclip_lite2_snacks.py

Both read the same views of the same products, in turn. The ratio of the medians is printed, of
wall clock and of processor time; the latter is fair on a busy machine.
"""

import argparse
import copy
import statistics
import time

import torch
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from eclip_mm.config import cache_pictures, load_config, use_feature_cache
from eclip_mm.datasets.collate import collate_products
from eclip_mm.datasets.feature_cache import read_card
from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.models.feature_card import take_features
from eclip_mm.registry import DATASETS, MODELS


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='config with feature_cache')
    parser.add_argument('--steps', type=int, default=4, help='timed steps of each, after one more')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope('eclip_mm')
    plain, cached = copy.deepcopy(cfg), copy.deepcopy(cfg)
    cache_pictures(plain, folder=None)
    use_feature_cache(cached)
    torch.manual_seed(0)
    model = MODELS.build(cached.model).train()
    take_features(model, read_card(cfg.feature_cache.folder).picture_size)
    options = {key: cfg.optim_wrapper[key] for key in cfg.optim_wrapper if key != 'constructor'}
    optim_wrapper = PretrainOptimWrapperConstructor(options)(model)
    datasets = {
        'without': DATASETS.build(plain.train_dataloader.dataset),
        'with': DATASETS.build(cached.train_dataloader.dataset),
    }
    size = cfg.train_dataloader.batch_size
    times = {name: [] for name in datasets}
    for step in range(args.steps + 1):
        for name, dataset in datasets.items():
            items = [(step * size + k) % (1000 * len(dataset)) for k in range(size)]
            start, busy = time.perf_counter(), time.process_time()
            model.train_step(collate_products([dataset[item] for item in items]), optim_wrapper)
            model.update_teacher(progress=0.0)
            times[name].append((time.perf_counter() - start, time.process_time() - busy))
    medians = {
        name: [statistics.median(column) for column in zip(*rows[1:], strict=True)]
        for name, rows in times.items()
    }
    print(f'{args.config}: {size} products a step, {torch.get_num_threads()} threads')
    for name, (wall, busy) in medians.items():
        print(f'  {name:7} cache: {wall:.2f} s, processor {busy:.2f} s')
    for kind, slow, fast in zip(('time', 'processor time'), *medians.values(), strict=True):
        print(f'  ratio of {kind}: {slow / fast:.1f}')


if __name__ == '__main__':
    main()
