"""The registered metrics on samples whose figures are worked out by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from eclip_mm.evaluation.functional import average_precision_chance
from eclip_mm.registry import METRICS, TASK_UTILS
from helpers.samples import ALL, LEFT, METRIC_CONFIGS, RIGHT, grounding_sample, run, sample


def test_image_text_retrieval_by_hand():
    # texts at 0 (a), 90 (b), 180 (c) degrees; a has two photos, the second nearer to b
    samples = [sample('a', 5, 0), sample('a', 60, 0), sample('b', 100, 90), sample('c', 170, 180)]
    figures = run(dict(type='ImageTextRetrieval', topk=(1, 2), prefix='x'), samples)
    expected = {
        'i2t_num_images': 4,
        't2i_num_texts': 3,
        'i2t_R@1': 3 / 4,
        'i2t_R@1_chance': 1 / 3,
        'i2t_R@2': 1,
        'i2t_R@2_chance': 2 / 3,
        # text a finds the photo at 5, b that at 100, c that at 170
        't2i_R@1': 1,
        't2i_R@1_chance': (2 / 4 + 1 / 4 + 1 / 4) / 3,
        't2i_R@2': 1,
        't2i_R@2_chance': ((1 - 1 / 6) + 1 / 2 + 1 / 2) / 3,
    }
    assert figures == pytest.approx({f'x/{key}': value for key, value in expected.items()})


def test_equal_texts_of_two_products_both_count():
    samples = [
        sample('a', 0, 0, words='milk'),
        sample('b', 90, 10, words='milk'),
        sample('b', 80, 90, words='fresh milk'),
        sample('c', 180, 180),
    ]
    figures = run(dict(type='ImageTextRetrieval', topk=(1,)), samples)
    # The picture of a finds its own text first, and "milk" of b would also be right;
    # b's pictures find 'fresh milk' (90), which is right by product_id.
    assert figures['image_text/i2t_R@1'] == 1
    assert figures['image_text/t2i_num_texts'] == 4
    # right texts: a: milk of a and b; b#0: its two and a's; b#1: its two ("fresh milk" is of
    # b alone); c: one
    assert figures['image_text/i2t_R@1_chance'] == pytest.approx((2 + 3 + 2 + 1) / 4 / 4)
    # right pictures: milk (a): a, b#0; milk (b): a, b#0, b#1; fresh milk: b#0, b#1; c: one
    assert figures['image_text/t2i_R@1_chance'] == pytest.approx((2 + 3 + 2 + 1) / 4 / 4)
    # milk of b (10 degrees) finds a's picture (0): the same text, so right
    assert figures['image_text/t2i_R@1'] == 1


def test_product_retrieval_fine_by_hand():
    samples = [
        sample('a', instance=0),
        sample('a', instance=20),
        sample('b', instance=25),
        sample('b', instance=60),
        sample('c', instance=90),
    ]
    figures = run(dict(type='ProductRetrieval', topk=(1, 2)), samples)
    # nearest: a0 -> a20 right; a20 -> b25, then a0; b25 -> a20, then a0; b60 -> c90, then b25
    assert figures['product/fine_num_queries'] == 4 and figures['product/fine_num_unmatched'] == 1
    assert figures['product/fine_num_gallery'] == 5
    assert figures['product/fine_R@1'] == 1 / 4
    assert figures['product/fine_R@2'] == 3 / 4
    assert figures['product/fine_R@1_chance'] == 1 / 4
    assert figures['product/fine_R@2_chance'] == pytest.approx(2 / 4)
    # AP@2 has depth min(2, |P| = 1)
    assert figures['product/fine_mAP@2'] == 1 / 4


def test_product_retrieval_m5_by_hand():
    samples = [
        sample('a', 0, category='x'),
        sample('b', 10, category='y'),
        sample('c', 25, category='x'),
        sample('d', 60, category='x'),
        sample('e', 100, category=None),
    ]
    figures = run(
        dict(
            type='ProductRetrieval',
            protocol='m5',
            topk=(1, 2),
            feature='pred_image_feat',
            prefix='p',
        ),
        samples,
    )
    # a: [b, c, d, e] -> . x x ; b: nothing relevant, 0; c: [b, a, d] -> . x x;
    # d: [c, e, b, a] -> x . . x ; e is no query
    assert figures['p/m5_num_queries'] == 4 and figures['p/m5_num_unmatched'] == 1
    assert figures['p/m5_num_gallery'] == 5 and figures['p/m5_num_without_category'] == 1
    assert figures['p/m5_P@1'] == 1 / 4 and figures['p/m5_mAP@1'] == 1 / 4
    assert figures['p/m5_mAP@2'] == pytest.approx((1 / 2 + 0 + 1 / 2 + 1) / 4)
    assert figures['p/m5_mAP@2_chance'] == pytest.approx(
        average_precision_chance([2, 0, 2, 2], 4, 2, 'm5').mean()
    )
    assert figures['p/m5_P@2'] == (1 / 2 + 0 + 1 / 2 + 1 / 2) / 4
    assert figures['p/m5_P@2_chance'] == (2 + 0 + 2 + 2) / 4 / 4


def test_without_gallery_or_queries_there_are_counts_and_a_warning(warnings):
    samples = [sample('a', 0, category='x'), sample('a', 10, category='x')]
    for protocol in ('fine', 'm5', 'ir', 'product1m'):
        config = dict(type='ProductRetrieval', protocol=protocol, prefix=protocol)
        nothing = run(dict(config, gallery_sources=['video']), samples)
        name = f'{protocol}/{protocol}'
        assert nothing[f'{name}_num_gallery'] == nothing[f'{name}_num_queries'] == 0
        assert nothing[f'{name}_num_unmatched'] == 2
        nobody = run(dict(config, query_sources=['video']), samples)
        assert nobody[f'{name}_num_gallery'] == 2
        assert nobody[f'{name}_num_queries'] == nobody[f'{name}_num_unmatched'] == 0
        assert all('num_' in key for key in [*nothing, *nobody])
    assert sum('no query can be answered' in message for message in warnings) == 8


def test_a_query_without_anything_relevant(warnings):
    # two products with one photo each, of two categories: no query has a match
    samples = [sample('a', 0, category='x'), sample('b', 10, category='y')]
    figures = run(dict(type='ProductRetrieval', protocol='m5', topk=(1,)), samples)
    assert figures['product/m5_num_unmatched'] == figures['product/m5_num_queries'] == 2
    assert figures['product/m5_mAP@1'] == figures['product/m5_P@1'] == 0, 'enters with 0'
    assert figures['product/m5_mAP@1_chance'] == 0 and not warnings
    for protocol in ('fine', 'ir', 'product1m'):
        figures = run(dict(type='ProductRetrieval', protocol=protocol), samples)
        assert figures[f'product/{protocol}_num_unmatched'] == 2
        assert figures[f'product/{protocol}_num_queries'] == 0, 'is left out'
    assert len(warnings) == 3


def test_one_text_per_picture_equals_sklearns_top_k_accuracy():
    rng = np.random.default_rng(0)
    angles, texts = rng.uniform(0, 360, 40), rng.uniform(0, 360, 40)
    samples = [sample(f'p{i}', a, t) for i, (a, t) in enumerate(zip(angles, texts, strict=True))]
    figures = run(dict(type='ImageTextRetrieval', topk=(1, 5, 10)), samples)
    images, words = (
        torch.stack([s.get(f'pred_{kind}_feat') for s in samples]) for kind in ('image', 'text')
    )
    for way, scores in (('i2t', images @ words.T), ('t2i', words @ images.T)):
        for k in (1, 5, 10):
            expected = top_k_accuracy_score(range(40), scores.numpy(), k=k, labels=range(40))
            assert figures[f'image_text/{way}_R@{k}'] == pytest.approx(expected)


def test_product_retrieval_between_sources():
    samples = [
        sample('a', 0, source='merchant'),
        sample('b', 90, source='merchant'),
        sample('a', 10, source='comment'),
        sample('b', 30, source='comment'),
        sample('c', 200, source='video'),
    ]
    figures = run(
        dict(
            type='ProductRetrieval',
            topk=(1,),
            query_sources=['comment'],
            gallery_sources=['merchant'],
        ),
        samples,
    )
    assert figures['product/fine_num_queries'] == 2 and figures['product/fine_num_gallery'] == 2
    assert figures['product/fine_R@1'] == 1 / 2 and figures['product/fine_R@1_chance'] == 1 / 2


def test_product_retrieval_ir_divides_by_all_relevant():
    samples = [sample('a', angle) for angle in (0, 1, 2)]
    figures = run(dict(type='ProductRetrieval', protocol='ir', topk=(1, 2)), samples)
    assert figures['product/ir_mAP@1'] == 1 / 2 and figures['product/ir_mAP@2'] == 1


def test_grounding_by_hand():
    samples = [
        grounding_sample([[1, 0], [0, 0]], [LEFT], [LEFT, RIGHT]),  # all right
        grounding_sample([[0, 1], [0, 0]], [LEFT], [RIGHT, LEFT, [0, 0, 1, 1]]),  # all wrong
        grounding_sample([[1, 1], [1, 1]], [LEFT], [ALL, LEFT]),  # constant: takes ALL, IoU 0.5
        grounding_sample([[1, 0], [0, 0]], [], [LEFT]),  # its product is not in the photo
        grounding_sample([[1, 0], [0, 0]], [[9, 0, 12, 4]], [LEFT]),  # or out of the crop
    ]
    figures = run(dict(type='ProductGrounding'), samples)
    figures = {key.removeprefix('grounding/'): value for key, value in figures.items()}
    assert figures['grounding_num_photos'] == 3
    assert figures['grounding_num_without_boxes'] == 2
    assert figures['mean_candidates'] == pytest.approx((2 + 3 + 2) / 3)
    assert figures['right_box'] == pytest.approx(2 / 3)
    assert figures['right_box_chance'] == pytest.approx((1 / 2 + 1 / 3 + 1) / 3)
    assert figures['right_box@0.7'] == pytest.approx(1 / 3)
    assert figures['right_box@0.7_chance'] == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)
    assert figures['pointing'] == pytest.approx((1 + 0 + 1 / 2) / 3)
    assert figures['pointing_chance'] == figures['energy_chance'] == 0.5
    # [[1, 0], [0, 0]] upsampled to 8 px falls off as 1, .875, .625, .375, .125, 0 from the
    # centre: 2 + .875 + .625 of 2 + .875 + .625 + .375 + .125 lie in the left half
    assert figures['energy'] == pytest.approx((3.5 / 4 + 0.5 / 4 + 0.5) / 3)


def test_grounding_with_a_registered_proposer():
    seen = []

    @TASK_UTILS.register_module(name='HalvesForTest')
    class Halves:
        def __init__(self, nothing_for=()):
            self.nothing_for = nothing_for

        def __call__(self, sample, image):
            seen.append(image)
            return [] if sample['product_id'] in self.nothing_for else np.array([LEFT, RIGHT])

    try:
        metric = METRICS.build(
            dict(
                type='ProductGrounding',
                iou_thrs=(0.5,),
                candidates=dict(type='HalvesForTest', nothing_for=['b']),
            )
        )
    finally:
        TASK_UTILS.module_dict.pop('HalvesForTest')
    samples = [
        grounding_sample([[1, 0], [0, 0]], [LEFT], []),
        grounding_sample([[1, 0], [0, 0]], [LEFT], [], product_id='b'),
    ]
    images = torch.arange(2 * 2 * 3 * 8 * 8).reshape(2, 2, 3, 8, 8)
    figures = run([metric], samples, data_batch=dict(inputs=dict(images=images)))
    assert figures['grounding/acc@0.5'] == 0.5, 'no proposal is a miss'
    assert figures['grounding/acc@0.5_chance'] == 0.25
    assert figures['grounding/mean_candidates'] == 1
    assert not any('right_box' in key for key in figures)
    assert [image.equal(images[i, 0]) for i, image in enumerate(seen)] == [True, True]


def test_grounding_by_image_prompts():
    samples = []
    for second, left, right in (('a#1', 1, 0), ('a#1', 0, 1), (None, 1, 0)):
        element = grounding_sample([[0, 1]], [LEFT], [LEFT, RIGHT])  # the text prompt is wrong
        element.set_metainfo(dict(image_ids=('a#0', second)))
        element.pred_image_prompt_map = torch.tensor([[float(left), float(right)]])
        samples.append(element)
    by_image = dict(type='ProductGrounding', score_map='pred_image_prompt_map', prefix='image')
    figures = run([dict(type='ProductGrounding', prefix='text'), by_image], samples)
    assert figures['text/grounding_num_photos'] == 3 and figures['text/right_box'] == 0
    assert figures['image/grounding_num_photos'] == 2 and figures['image/right_box'] == 1 / 2
    assert figures['image/grounding_num_without_prompt'] == 1
    assert figures['image/grounding_num_without_boxes'] == 0
    assert 'text/grounding_num_without_prompt' not in figures


def test_grounding_by_image_prompts_needs_a_second_picture():
    with pytest.raises(KeyError, match="'a' has no second picture.*prompt_sources"):
        run(
            dict(type='ProductGrounding', score_map='pred_image_prompt_map'),
            [grounding_sample([[1, 0]], [LEFT], [LEFT])],
        )


def test_grounding_without_any_box_field_is_counted(warnings):
    figures = run(dict(type='ProductGrounding', prefix='g'), [sample('a'), sample('b')])
    assert figures == {'g/grounding_num_photos': 0, 'g/grounding_num_without_boxes': 2}
    assert any('none of 2 photos has boxes' in message for message in warnings)


@pytest.mark.parametrize(
    'score_map, error, words',
    [
        ([[1.0, float('nan')]], ValueError, "product 'a': .*not finite"),
        ([[1.0, -1.0]], ValueError, "product 'a': .*non-negative"),
    ],
)
def test_grounding_names_the_product_of_a_bad_map(score_map, error, words):
    with pytest.raises(error, match=words):
        run(dict(type='ProductGrounding'), [grounding_sample(score_map, [LEFT], [LEFT])])


@pytest.mark.parametrize('config', METRIC_CONFIGS, ids=lambda c: '-'.join(c.values()))
def test_an_empty_split_is_a_warning_and_a_zero_count(config, warnings):
    figures = run(dict(config, split='photoz', prefix='x'), [sample('a', split='photos')] * 3)
    assert figures and all(value == 0 and 'num_' in key for key, value in figures.items())
    assert any("no sample of split 'photoz'; seen: {'photos': 3}" in m for m in warnings)


@pytest.mark.parametrize('config', METRIC_CONFIGS, ids=lambda c: '-'.join(c.values()))
def test_split_and_batch_size_select_the_same(config):
    rng = np.random.default_rng(0)
    samples = [
        grounding_sample(
            rng.random((2, 2)),
            [LEFT],
            [LEFT, RIGHT],
            f'p{i % 4}',
            image=37 * i,
            text=53 * (i % 4),
            category='xy'[i % 2],
            split='photos' if i % 3 else 'other',
        )
        for i in range(12)
    ]
    config = dict(config, num_bootstrap=50)
    chosen = run(dict(config, split='photos'), samples, batch_size=5)
    alone = run(config, [s for s in samples if s.split == 'photos'], batch_size=1)
    assert chosen == alone
    for key, value in chosen.items():
        assert 'num_' in key or 'mean_' in key or 0 <= value <= 1, key
        if f'{key}_low' in chosen:
            assert chosen[f'{key}_low'] <= value <= chosen[f'{key}_high']
    figures = [key for key in chosen if f'{key}_chance' in chosen]
    assert figures and all(f'{key}_low' in chosen for key in figures)


@pytest.mark.parametrize(
    'config, words',
    [
        (dict(type='ProductRetrieval', protocol='map'), 'unknown protocol'),
        (dict(type='ProductRetrieval', query_sources='comment'), 'query_sources is a list'),
        (dict(type='ImageTextRetrieval', topk=(0, 1)), 'topk'),
        (dict(type='ProductGrounding', candidates='rpn'), 'candidates'),
        (dict(type='ProductGrounding', iou_thrs=(50,)), 'iou_thrs'),
        (dict(type='ProductGrounding', score_map='pred_map'), 'pred_image_prompt_map'),
        (dict(type='ProductGrounding', iou_thr=0.5), 'iou_thr'),
        (dict(type='ImageTextRetrieval', slices=['category']), 'slices'),
    ],
)
def test_a_wrong_config_fails_at_build(config, words):
    with pytest.raises((ValueError, TypeError), match=words):
        METRICS.build(config)


def test_missing_and_diverged_predictions_are_named():
    element = sample('a')
    del element.pred_text_feat
    with pytest.raises(KeyError, match="ImageTextRetrieval needs .*'pred_text_feat'.*'a'"):
        run(dict(type='ImageTextRetrieval'), [element])
    element = sample('a')
    element.pred_instance_feat[0] = float('nan')
    with pytest.raises(ValueError, match="ProductRetrieval: pred_instance_feat of product 'a'"):
        run(dict(type='ProductRetrieval'), [element])


def test_metrics_of_one_prefix_do_not_collide():
    samples = [grounding_sample([[1, 0], [0, 0]], [LEFT], [LEFT], category='x')] * 2
    figures = run([dict(config, prefix='photos') for config in METRIC_CONFIGS], samples)
    assert len(figures) > 30
