"""Two gloo processes give the figures of one, for every split and padding."""

import pytest
import torch

from eclip_mm.evaluation import ProductEvaluator, ProductMetric
from eclip_mm.registry import METRICS
from eclip_mm.testing import end_rank
from helpers.processes import start_ranks
from helpers.samples import METRIC_CONFIGS, NUM_SAMPLES, build_evaluator, make_samples

CONFIGS = [dict(config, split='photos', num_bootstrap=20, prefix='x') for config in METRIC_CONFIGS]


class KeepFeatures(ProductMetric):
    """Keeps references to the gathered features, to compare them with another metric's."""

    def describe_sample(self, sample, image=None):
        return dict(feat=sample['pred_instance_feat'])

    def measure(self, records):
        self.feats = [record['feat'] for record in records]
        return {'num_feats': len(records)}


def evaluate(rank, world_size, build=build_evaluator):
    samples, evaluator = make_samples(), build(CONFIGS)
    rounds = -(-NUM_SAMPLES // world_size)
    for index in range(rank, rounds * world_size, world_size):  # DefaultSampler's order
        evaluator.process([samples[index % NUM_SAMPLES]])
    return evaluator.evaluate(NUM_SAMPLES)


def worker(rank, folder):
    torch.distributed.init_process_group('gloo')
    twins = KeepFeatures(prefix='a'), KeepFeatures(prefix='b')

    def shared(configs):
        return ProductEvaluator([*map(METRICS.build, configs), *twins])

    torch.save([evaluate(rank, 2), evaluate(rank, 2, shared)], f'{folder}/{rank}.pt')
    if rank == 0:  # after the journey too a feature exists once, in the order of the data set
        first, second = (twin.feats for twin in twins)
        assert len(first) == NUM_SAMPLES
        assert all(a is b for a, b in zip(first, second, strict=True))
        order = [sample.pred_instance_feat for sample in make_samples()]
        assert all((a == b.numpy()).all() for a, b in zip(first, order, strict=True))
    else:
        assert not any(hasattr(twin, 'feats') for twin in twins)
    end_rank()


@pytest.mark.slow
@pytest.mark.alone
def test_two_ranks_equal_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mmengine gathers through a folder here
    start_ranks(worker, str(tmp_path))
    alone = evaluate(0, 1)
    assert alone['x/i2t_num_images'] == 6
    for rank in range(2):
        separate, shared = torch.load(tmp_path / f'{rank}.pt')
        assert separate == alone
        assert shared == {**alone, 'a/num_feats': NUM_SAMPLES, 'b/num_feats': NUM_SAMPLES}
