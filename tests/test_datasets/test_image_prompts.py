"""Evaluation samples with a second picture of the product as prompt."""

import pytest

from eclip_mm.datasets import CatalogueError, ProductImageDataset, collate_products
from helpers.catalogues import make_rows, pipeline, write_rows


def value(sample, picture):
    """Grey value: 10 * product + number of the picture."""
    return int(sample['inputs']['images'][picture].float().mean())


@pytest.fixture
def path(tmp_path):
    rows = make_rows(3, sources=('merchant', 'comment', 'comment', 'merchant'))
    rows[1]['images'] = rows[1]['images'][1:3]  # no merchant picture
    return write_rows(rows, tmp_path / 'c.parquet')


def test_prompts_go_round_and_are_never_the_picture_itself(path):
    dataset = ProductImageDataset(path, pipeline(False), prompt_sources=['merchant'])
    samples = [dataset[i] for i in range(len(dataset))]
    assert [(value(s, 0), value(s, 1)) for s in samples] == [
        (0, 3),
        (1, 3),  # the second photo, the second of two prompts
        (2, 0),
        (3, 0),
        (11, 11),  # it is its own prompt, as there is no other
        (12, 12),
        (20, 23),
        (21, 23),
        (22, 20),
        (23, 20),
    ]
    ids = [s['data_samples'].image_ids for s in samples]
    assert ids[:2] == [('p0#0', 'p0#3'), ('p0#1', 'p0#3')]
    assert ids[4:6] == [('p1#0', None), ('p1#1', None)]
    assert samples[1]['data_samples'].sources == ('comment', 'merchant')
    assert collate_products(samples)['inputs']['images'].shape == (10, 2, 3, 8, 8)
    assert samples[0]['data_samples'].gt_bboxes.shape == (0, 4), 'boxes are of the first picture'


def test_prompts_of_another_catalogue_are_found_by_product(path, tmp_path):
    rows = make_rows(3, sources=('video',))[:0:-1]  # p2 and p1
    other = write_rows(rows, tmp_path / 'other.jsonl')
    dataset = ProductImageDataset(
        path,
        pipeline(False),
        sources=['comment'],
        prompt_sources=['video'],
        prompt_catalogue=other,
    )
    samples = [dataset[i] for i in range(len(dataset))]
    assert [(value(s, 0), value(s, 1)) for s in samples] == [
        (1, 1),  # p0 is not there
        (2, 2),
        (11, 10),
        (12, 10),
        (21, 20),
        (22, 20),
    ]
    assert [s['data_samples'].image_ids[1] for s in samples[:3]] == [None, None, 'p1#0']


def test_a_broken_prompt_is_replaced_by_another_one(tmp_path):
    rows = make_rows(2, sources=('comment', 'merchant', 'merchant'))
    rows[0]['images'][1]['bytes'] = b'broken'
    for image in rows[1]['images'][1:]:
        image['bytes'] = b'broken'
    path = write_rows(rows, tmp_path / 'c.parquet')
    dataset = ProductImageDataset(
        path, pipeline(False), sources=['comment'], prompt_sources=['merchant']
    )
    assert (value(dataset[0], 0), value(dataset[0], 1)) == (0, 2)
    assert dataset[1]['data_samples'].image_ids == ('p1#0', None)


def test_wrong_arguments_are_named(path):
    dataset = ProductImageDataset(path, pipeline(False), prompt_sources=['video'])
    with pytest.raises(CatalogueError, match=r"\['video'\].*'merchant', 'comment'"):
        len(dataset)
    with pytest.raises(ValueError, match=r"write \['video'\]"):
        ProductImageDataset(path, pipeline(False), prompt_sources='video')
    with pytest.raises(ValueError, match="needs 'prompt_sources'"):
        ProductImageDataset(path, pipeline(False), prompt_catalogue=path)


def test_one_text_may_prompt_all_samples(path):
    own = ProductImageDataset(path, pipeline(False), prompt_sources=['merchant'])
    neutral = ProductImageDataset(
        path, pipeline(False), prompt_sources=['merchant'], prompt_text='a product'
    )
    assert len(own) == len(neutral)
    for i in range(len(own)):
        a, b = own[i], neutral[i]
        assert b['data_samples'].text == 'a product'
        assert a['data_samples'].text == f'Product number {a["data_samples"].product_id[1:]}'
        assert (a['inputs']['images'] == b['inputs']['images']).all()
        assert a['data_samples'].image_ids == b['data_samples'].image_ids
        assert (b['inputs']['input_ids'] == neutral[0]['inputs']['input_ids']).all()
    assert len({tuple(own[i]['inputs']['input_ids'].tolist()) for i in range(len(own))}) == 3
    with pytest.raises(ValueError, match="'prompt_text' is ' '; give a text, or None"):
        ProductImageDataset(path, pipeline(False), prompt_text=' ')
