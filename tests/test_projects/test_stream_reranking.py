"""projects/streams: retrieval whose first candidates are matched again."""

import numpy as np
import pytest
import torch

from eclip_mm.evaluation import ProductEvaluator
from eclip_mm.testing import fake_batch
from helpers.streams import build, import_projects


@pytest.fixture(scope='module', autouse=True)
def reranking(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import_projects()
        import projects.streams.reranking as reranking

        yield reranking


def record(name, feat, value, split):
    """A sample whose words or regions are one number, which the scores below read."""
    return dict(
        product_id=name,
        sources=('photo',),
        split=split,
        pred_instance_feat=np.array(feat, np.float32),
        pred_word_states=np.full((2, 3), value, np.float32),
        pred_region_states=np.full((1 + int(value), 3), value, np.float32),
    )


def test_candidates_are_ranked_again_by_hand(reranking):
    """Cosines rank d c b a; the first three are ranked by their scores: b 3, d 2, c 1."""
    gallery = [('a', 0.1, 9), ('b', 0.4, 3), ('c', 0.7, 1), ('d', 0.9, 2)]
    samples = [record('b', [1, 0], 1, 'q')]
    samples += [record(n, [c, (1 - c * c) ** 0.5], v, 'g') for n, c, v in gallery]
    metric = reranking.RerankedRetrieval(
        first=3, batch_size=2, topk=(1, 2, 3), query_split='q', gallery_split='g', prefix='x'
    )
    evaluator = ProductEvaluator([metric])
    evaluator.process(samples)
    with pytest.raises(RuntimeError, match="add dict\\(type='RerankingHook'\\)"):
        evaluator.evaluate(5)
    seen = []

    def score_pairs(words, regions):
        seen.append((words.shape, regions.shape))
        assert (words == 1).all()
        return regions.max(axis=(1, 2)).astype(float)

    metric.score_pairs = score_pairs
    evaluator.process(samples)
    figures = evaluator.evaluate(5)
    assert figures['x/fine_R@1'] == 1 and figures['x/fine_mAP@3'] == 1
    # two pairs at a time, pictures with fewer regions padded
    assert seen == [((2, 2, 3), (2, 3, 3)), ((1, 2, 3), (1, 4, 3))]
    # the order of the first stage stays behind them
    metric.first = 2
    evaluator.process(samples)
    figures = evaluator.evaluate(5)
    assert figures['x/fine_R@2'] == 0 and figures['x/fine_R@3'] == 1


def test_too_few_candidates_are_an_error(reranking):
    with pytest.raises(ValueError, match='first=4 candidates are fewer than the 10 of topk'):
        reranking.RerankedRetrieval(first=4)


@pytest.mark.parametrize('kind', ['ViLBERT', 'UNITER'])
def test_the_score_of_a_pair_is_that_of_the_whole_model(kind):
    model = build(kind).eval()
    data = model.data_preprocessor(fake_batch())
    samples = model(**data, mode='predict')
    text = data['inputs']['input_ids'], data['inputs']['attention_mask']
    regions, _ = model.network.find_regions(data['inputs']['images'][:, 0])
    words = np.stack([s.pred_word_states.numpy() for s in samples])
    pictures = np.stack([s.pred_region_states.numpy() for s in samples])
    with torch.no_grad():
        logits = model.matching_head.logits(model.network.read(*text, regions))
    expected = (logits[:, 1] - logits[:, 0]).double().numpy()
    np.testing.assert_allclose(model.score_pairs(words, pictures), expected, atol=1e-5)
    other = model.score_pairs(words[[1, 0]], pictures[:2])
    assert np.abs(other - expected[:2]).min() > 1e-6
