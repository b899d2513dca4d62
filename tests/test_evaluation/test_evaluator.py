"""One extraction for all metrics gives the same figures and keeps each feature once."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric

from eclip_mm.evaluation import ProductEvaluator
from eclip_mm.evaluation.metrics import shared_search
from eclip_mm.registry import EVALUATOR, METRICS
from helpers.samples import METRIC_CONFIGS, make_samples, run, sample

CONFIGS = [dict(config, num_bootstrap=20, prefix='x') for config in METRIC_CONFIGS]


class CountTensors(BaseMetric):
    """A metric of another project: it gets tensors, as in mmengine's evaluator."""

    def process(self, data_batch, data_samples):
        self.results += [isinstance(s['pred_text_feat'], torch.Tensor) for s in data_samples]

    def compute_metrics(self, results):
        return {'tensors': sum(results)}


def shared(configs):
    return EVALUATOR.build(
        dict(
            type='ProductEvaluator',
            metrics=[METRICS.build(c) if isinstance(c, dict) else c for c in configs],
        )
    )


def feed(evaluator, samples, batch_size):
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size])
    return evaluator.evaluate(len(samples))


def arrays(records):
    return [v for record in records for v in record.values() if isinstance(v, np.ndarray)]


@pytest.mark.parametrize('batch_size', [1, 4, 100])
def test_figures_are_those_of_mmengines_evaluator(batch_size):
    samples = make_samples()
    alone = run([*CONFIGS, CountTensors(prefix='y')], samples)
    ours = feed(shared([*CONFIGS, CountTensors(prefix='y')]), samples, batch_size)
    assert ours == alone and list(ours) == list(alone)
    assert ours['y/tensors'] == len(samples)


def test_features_are_held_and_sent_once():
    samples = [sample(f'p{i % 3}', 40 * i, 120 * i) for i in range(6)]
    for element in samples:
        element.pred_instance_feat = torch.randn(512)
    configs = [dict(type='ProductRetrieval', protocol=p) for p in ('fine', 'm5', 'ir')]
    evaluator = shared([dict(type='ImageTextRetrieval'), *configs])
    evaluator.process(samples)
    for _, *retrieval in zip(*(metric.results for metric in evaluator.metrics), strict=True):
        assert all(record['feat'] is retrieval[0]['feat'] for record in retrieval)
    held = arrays(record for metric in evaluator.metrics for record in metric.results)
    assert len(held) == 5 * 6 and len({id(array) for array in held}) == 3 * 6
    # a rank sends 512 float32 per sample, not three times as many
    rows = list(zip(*(metric.results for metric in evaluator.metrics), strict=True))
    alone = [metric.results for metric in evaluator.metrics]
    assert len(pickle.dumps(rows)) < 6 * (4 * 512 + 500)
    assert sum(len(pickle.dumps(results)) for results in alone) > 6 * 3 * 4 * 512
    # nothing keeps the model's own tensors alive
    tensors = {element.pred_instance_feat.data_ptr() for element in samples}
    assert not tensors & {array.ctypes.data for array in held}


def test_equal_rankings_are_searched_for_once(monkeypatch):
    searched = []

    def counted(query, gallery, k, exclude=None):
        searched.append((len(query), len(gallery), k))
        return topk_similarity(query, gallery, k, exclude=exclude)

    topk_similarity = shared_search.topk_similarity
    monkeypatch.setattr(shared_search, 'topk_similarity', counted)
    photos = [
        sample(f'p{i % 5}', 37 * i, 120 * i, category=f'c{i % 2}', source='ab'[i % 2])
        for i in range(20)
    ]
    protocols = [
        dict(type='ProductRetrieval', protocol=name, prefix=name)
        for name in ('m5', 'fine', 'product1m', 'ir')
    ]
    one_way = dict(query_sources=['a'], gallery_sources=['b'])
    others = [
        dict(type='ProductRetrieval', feature='pred_image_feat', prefix='image feature'),
        dict(type='ProductRetrieval', feature='pred_text_feat', prefix='another feature'),
        dict(type='ProductRetrieval', prefix='other roles', **one_way),
        dict(type='ProductRetrieval', protocol='m5', prefix='the same roles', **one_way),
    ]
    evaluator = shared([*protocols, *others])
    figures = feed(evaluator, photos, 7)
    # instance and image features of these samples are the same vectors
    assert sorted(searched) == [(10, 10, 10), (20, 20, 10), (20, 20, 50)]
    assert figures == run([*protocols, *others], photos)
    # nothing is cached afterwards: metrics without the evaluator search for each protocol
    searched.clear()
    run(evaluator.metrics, photos)
    assert len(searched) == 8


def test_state_is_cleared_between_evaluations():
    evaluator = shared([dict(type='ProductRetrieval')])
    first = feed(evaluator, make_samples(), 3)
    assert evaluator.metrics[0].results == []
    assert feed(evaluator, make_samples(), 3) == first


def test_state_is_cleared_after_an_error():
    evaluator = shared([dict(type='ProductRetrieval')])
    evaluator.process(make_samples())
    evaluator.metrics[0].results[3]['feat'][0] = np.inf
    with pytest.raises(ValueError, match='not finite'):
        evaluator.evaluate(9)
    assert evaluator.metrics[0].results == []


def test_errors():
    with pytest.raises(ValueError, match=r"two metrics .* 'x/fine_num_queries'"):
        feed(shared([dict(type='ProductRetrieval', prefix='x')] * 2), make_samples(), 3)
    with pytest.raises(ValueError, match='collect_device'):
        ProductEvaluator([], collect_device='tpu')


def test_without_samples_or_metrics():
    figures = shared(CONFIGS).evaluate(0)
    assert figures and not any(figures.values())
    assert shared([]).evaluate(3) == {}
    assert shared([CountTensors(prefix='y')]).evaluate(0) == {'y/tensors': 0}
