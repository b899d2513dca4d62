"""projects/streams: retrieval whose first candidates are matched again."""

import numpy as np
import pytest
import torch

from eclip_mm.evaluation import ProductEvaluator
from eclip_mm.testing import fake_batch
from helpers.streams import build, import_projects


@pytest.fixture(scope='module', autouse=True)
def matching(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import_projects()
        import projects.streams.product_matching as matching

        yield matching


def record(name, feat, value, split):
    """A sample whose regions are one number, which the scores below read."""
    return dict(
        product_id=name,
        sources=('photo',),
        split=split,
        pred_instance_feat=np.array(feat, np.float32),
        pred_match_text=np.ones((2, 3), np.float32),
        pred_match_image=np.full((4, 3), value, np.float32),
    )


class Matcher(torch.nn.Linear):
    """Scores a pair by the number that the picture is made of, and notes the shapes."""

    def match(self, image_states, text_states, text_mask):
        assert (text_states == 1).all() and text_mask.all()
        self.seen.append(tuple(image_states.shape))
        return image_states.amax(dim=(1, 2))


def test_candidates_are_ranked_again_by_hand(matching):
    """Cosines rank d c b a; the first three are ranked by their scores: b 3, d 2, c 1."""
    gallery = [('a', 0.1, 9), ('b', 0.4, 3), ('c', 0.7, 1), ('d', 0.9, 2)]
    samples = [record('b', [1, 0], 1, 'q')]
    samples += [record(n, [c, (1 - c * c) ** 0.5], v, 'g') for n, c, v in gallery]
    metric = matching.MatchedRetrieval(
        k_match=3, batch_size=2, topk=(1, 2, 3), query_split='q', gallery_split='g', prefix='x'
    )
    evaluator = ProductEvaluator([metric])
    evaluator.process(samples)
    with pytest.raises(RuntimeError, match="add dict\\(type='MatchingHook'\\)"):
        evaluator.evaluate(5)
    metric.model = Matcher(1, 1)
    metric.model.seen = []
    evaluator.process(samples)
    figures = evaluator.evaluate(5)
    assert figures['x/fine_R@1'] == 1 and figures['x/fine_mAP@3'] == 1
    assert metric.model.seen == [(2, 4, 3), (1, 4, 3)]
    metric.k_match = 2  # the order of the first stage stays behind them
    evaluator.process(samples)
    figures = evaluator.evaluate(5)
    assert figures['x/fine_R@2'] == 0 and figures['x/fine_R@3'] == 1


def test_a_query_in_the_gallery_has_one_candidate_less(matching):
    samples = [record(n, f, v, 's') for n, f, v in (('b', [1, 0], 1), ('b', [0.6, 0.8], 1))]
    samples.append(record('c', [0, 1], 5, 's'))  # the last one, where -1 would point
    metric = matching.MatchedRetrieval(k_match=3, topk=(2,), split='s', prefix='x')
    metric.model = Matcher(1, 1)
    metric.model.seen = []
    evaluator = ProductEvaluator([metric])
    evaluator.process(samples)
    assert evaluator.evaluate(3)['x/fine_R@2'] == 1


def test_too_few_candidates_are_an_error(matching):
    with pytest.raises(ValueError, match='k_match=4 candidates are fewer than the 10 of topk'):
        matching.MatchedRetrieval(k_match=4)


@pytest.mark.parametrize('kind', ['ViLBERT', 'UNITER'])
def test_the_score_of_a_pair_is_that_of_the_whole_model(kind):
    from projects.fusion.two_stage import match_states

    model = build(kind).eval()
    data = model.data_preprocessor(fake_batch())
    samples = model(**data, mode='predict')
    text = data['inputs']['input_ids'], data['inputs']['attention_mask']
    regions, _ = model.network.find_regions(data['inputs']['images'][:, 0])
    words = [s.pred_match_text.numpy() for s in samples]
    pictures = [s.pred_match_image.numpy() for s in samples]
    with torch.no_grad():
        logits = model.matching_head.logits(model.network.read(*text, regions))
    expected = (logits[:, 1] - logits[:, 0]).numpy()
    found = match_states(model, pictures, words, batch_size=4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    other = match_states(model, pictures[:2], words[1::-1], batch_size=4)
    assert np.abs(other - expected[:2]).min() > 1e-6
