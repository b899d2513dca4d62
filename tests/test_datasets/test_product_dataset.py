import json
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from eclip_mm.datasets import (
    CatalogueError,
    ImageDecodeError,
    ProductDataset,
    ProductImageDataset,
    ResumableSampler,
    collate_products,
    read_catalogue,
)
from eclip_mm.datasets.picture_choice import choose_images
from helpers.catalogues import (
    break_group,
    damage_pictures,
    encode,
    make_rows,
    pipeline,
    plain_png,
    write_rows,
)


@pytest.fixture
def path(tmp_path):
    rows = make_rows(10)
    rows[3]['images'] = rows[3]['images'][:1]
    rows[4]['images'][0]['boxes'] = [
        dict(bbox=[0, 0, 12, 8], product_id='p4'),
        dict(bbox=[6, 4, 24, 16], product_id='p9'),
    ]
    return write_rows(rows, tmp_path / 'c.parquet')


@pytest.fixture
def noisy(tmp_path):
    """Ten products whose pictures no two augmentations leave alike; p3 has one picture."""
    rng = np.random.default_rng(0)
    rows = make_rows(10)
    rows[3]['images'] = rows[3]['images'][:1]
    for row in rows:
        for image in row['images']:
            image['bytes'] = encode(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    return write_rows(rows, tmp_path / 'noisy.parquet')


def _value(sample, view=0):
    """Grey value of a picture that was only resized: 10 * product + place in the row."""
    return int(sample['inputs']['images'][view].float().mean().round())


class TestProductDataset:
    def test_sample(self, path):
        dataset = ProductDataset(path, pipeline(train=False))
        assert len(dataset) == 10
        sample = dataset[7]
        images = sample['inputs']['images']
        assert images.shape == (2, 3, 8, 8)
        assert images.dtype == torch.uint8
        assert {_value(sample, 0), _value(sample, 1)} == {70, 71}
        assert sample['inputs']['input_ids'].dtype == torch.long
        assert sample['inputs']['input_ids'][0] == 2
        assert sample['inputs']['input_ids'][-1] == 3
        data_sample = sample['data_samples']
        assert data_sample.product_id == 'p7'
        assert data_sample.text == 'Product number 7'
        assert data_sample.category == 'odd'
        assert data_sample.split == ''
        assert data_sample.img_shape == (8, 8)
        assert data_sample.ori_shape == (16, 24)
        order = [int(i[-1]) for i in data_sample.image_ids]
        assert data_sample.image_ids == tuple(f'p7#{i}' for i in order)
        assert data_sample.sources == tuple(['merchant', 'comment'][i] for i in order)
        assert [_value(sample, v) % 10 for v in (0, 1)] == order
        assert 'gt_bboxes' not in data_sample  # pretraining never reads boxes
        assert isinstance(dataset.metainfo, dict)

    def test_single_picture_gives_two_augmentations(self, noisy):
        dataset = ProductDataset(noisy, pipeline(train=True))
        assert dataset.num_single_image == 1
        views = dataset[3]['inputs']['images']
        assert not torch.equal(views[0], views[1])
        three = ProductDataset(noisy, pipeline(False), num_images=3)[3]['inputs']['images']
        assert torch.equal(three, three[:1].expand(3, -1, -1, -1))

    def test_sample_depends_on_seed_epoch_and_index_only(self, noisy):
        def all_of(dataset, indices):
            return {i: dataset[i]['inputs']['images'] for i in indices}

        one = all_of(ProductDataset(noisy, pipeline(True), seed=1), range(20))
        again = all_of(ProductDataset(noisy, pipeline(True), seed=1), reversed(range(20)))
        other = all_of(ProductDataset(noisy, pipeline(True), seed=2), range(20))
        assert all(torch.equal(one[i], again[i]) for i in one)
        assert not any(torch.equal(one[i], other[i]) for i in one)
        # Index 10 + i is product i in the next epoch, with another augmentation.
        dataset = ProductDataset(noisy, pipeline(True), seed=1)
        assert dataset[13]['data_samples'].product_id == 'p3'
        assert not any(torch.equal(one[i], one[10 + i]) for i in range(10))

    def test_sources_are_filtered(self, path):
        dataset = ProductDataset(path, pipeline(False), sources=['comment'])
        assert len(dataset) == 9  # p3 has none
        assert dataset.num_single_image == 9
        assert [dataset[i]['data_samples'].product_id for i in (2, 3)] == ['p2', 'p4']
        assert _value(dataset[3]) == 41
        dataset = ProductDataset(path, pipeline(False), exclude_sources=['comment'])
        assert [_value(dataset[i]) for i in range(10)] == list(range(0, 100, 10))
        with pytest.raises(CatalogueError, match="'video'.*'merchant', 'comment'"):
            len(ProductDataset(path, pipeline(False), sources=['video']))
        with pytest.raises(ValueError, match='not both'):
            ProductDataset(path, pipeline(False), sources=['a'], exclude_sources=['b'])
        with pytest.raises(ValueError, match=r"\['comment'\]"):
            ProductDataset(path, pipeline(False), sources='comment')

    def test_wrong_arguments_fail_at_build(self, path):
        from eclip_mm.registry import DATASETS

        with pytest.raises(TypeError, match='num_image'):
            DATASETS.build(dict(type='ProductDataset', catalogue=path, pipeline=[], num_image=2))
        with pytest.raises(ValueError, match='num_images'):
            ProductDataset(path, [], num_images=0)
        with pytest.raises(KeyError, match='NoSuchTransform'):
            ProductDataset(path, [dict(type='NoSuchTransform')])

    def test_nothing_is_read_before_it_is_needed(self, tmp_path):
        dataset = ProductDataset(tmp_path / 'later.jsonl', pipeline(False))
        with pytest.raises(CatalogueError, match='later.jsonl'):
            len(dataset)
        write_rows(make_rows(2), tmp_path / 'later.jsonl')
        assert len(dataset) == 2

    def test_strict_reads_strictly(self, tmp_path):
        rows = [json.dumps(dict(product_id='1', text='', images=[]))]
        write_rows(make_rows(2), tmp_path / 'c.jsonl')
        with open(tmp_path / 'c.jsonl', 'a') as file:
            file.write('\n'.join(rows))
        assert len(ProductDataset(tmp_path / 'c.jsonl', [])) == 2
        with pytest.raises(CatalogueError, match="row 3: field 'text'"):
            len(ProductDataset(tmp_path / 'c.jsonl', [], strict=True))

    def test_several_catalogues(self, tmp_path, path):
        more = write_rows([dict(make_rows(1)[0], product_id='new')], tmp_path / 'more.jsonl')
        dataset = ProductDataset([path, more], pipeline(False))
        assert len(dataset) == 11
        assert dataset[10]['data_samples'].product_id == 'new'

    def test_pickles(self, path):
        dataset = ProductDataset(path, pipeline(True))
        before = dataset[5]['inputs']['images']
        assert torch.equal(pickle.loads(pickle.dumps(dataset))[5]['inputs']['images'], before)


class TestChoice:
    def test_different_sources_first(self):
        """Source a has pictures 0 to 2, b 3, c 4: pairs are of two sources, and all occur."""
        sources = ['a', 'a', 'a', 'b', 'c']
        rng = np.random.default_rng(0)
        pairs = Counter(tuple(choose_images(range(5), sources, 2, rng)) for _ in range(3000))
        assert all(sources[i] != sources[j] for i, j in pairs)
        assert len(pairs) == 14  # ordered pairs: 20, less the 6 of a alone
        by_source = Counter()
        for (i, _), count in pairs.items():
            by_source[sources[i]] += count
        assert all(abs(by_source[s] - 1000) < 120 for s in 'abc')  # 4.6 standard deviations

    def test_every_picture_before_one_twice(self):
        rng = np.random.default_rng(0)
        for _ in range(50):
            chosen = choose_images([0, 2, 3], 'aabb', 7, rng)
            assert sorted(chosen[:3]) == [0, 2, 3]
            assert sorted(chosen[3:6]) == [0, 2, 3]
            assert chosen[6] in (0, 2, 3)
        assert choose_images([4], 'aaaab', 2, rng) == [4, 4]


class TestProductImageDataset:
    def test_every_picture_with_boxes(self, path):
        dataset = ProductImageDataset(path, pipeline(False), split='photos')
        assert len(dataset) == 19
        ids = [dataset[i]['data_samples'].image_ids for i in range(19)]
        assert ids[:2] == [('p0#0',), ('p0#1',)]
        assert ids[6:9] == [('p3#0',), ('p4#0',), ('p4#1',)]
        sample = dataset[7]
        assert sample['inputs']['images'].shape == (1, 3, 8, 8)
        assert _value(sample) == 40
        data_sample = sample['data_samples']
        assert data_sample.split == 'photos'
        # 24 x 16 to 8 x 8: x by 1/3, y by 1/2.
        assert data_sample.gt_bboxes.tolist() == [[0, 0, 4, 4]]
        assert data_sample.object_bboxes.tolist() == [[0, 0, 4, 4], [2, 2, 8, 8]]
        assert data_sample.object_product_ids == ('p4', 'p9')
        empty = dataset[0]['data_samples']
        assert empty.gt_bboxes.shape == empty.object_bboxes.shape == (0, 4)
        flat = data_sample.to_dict()
        assert flat['split'] == 'photos'
        assert flat['object_bboxes'].shape == (2, 4)

    def test_limits(self, path):
        dataset = ProductImageDataset(path, pipeline(False), max_images_per_product=1)
        assert [_value(dataset[i]) for i in range(len(dataset))] == list(range(0, 100, 10))
        dataset = ProductImageDataset(path, pipeline(False), sources=['comment'])
        assert [_value(dataset[i]) for i in range(3)] == [1, 11, 21]
        assert dataset[3]['data_samples'].product_id == 'p4'
        assert dataset[3]['data_samples'].image_ids == ('p4#1',)
        with pytest.raises(ValueError, match='max_images_per_product'):
            ProductImageDataset(path, [], max_images_per_product=0)


class TestBrokenPictures:
    @pytest.fixture
    def broken(self, tmp_path):
        """p1: one of two broken; p2: all broken; p4: one of one broken."""
        rows = make_rows(6)
        rows[1]['images'][0]['bytes'] = b'broken'
        rows[2]['images'] = [dict(bytes=b'broken', source=s) for s in ('merchant', 'comment')]
        rows[4]['images'] = [dict(bytes=b'broken', source='merchant')]
        return write_rows(rows, tmp_path / 'c.parquet')

    def test_another_picture_or_product_stands_in(self, broken):
        dataset = ProductDataset(broken, pipeline(False))
        assert {_value(dataset[1], v) for v in (0, 1)} == {11}
        assert {_value(dataset[2], v) for v in (0, 1)} == {30, 31}
        assert dataset[2]['data_samples'].product_id == 'p3'
        assert dataset[4]['data_samples'].text == 'Product number 5'
        samples = [ProductDataset(broken, pipeline(True))[i + 6] for i in range(6)]
        again = [ProductDataset(broken, pipeline(True))[i + 6] for i in range(6)]
        for a, b in zip(samples, again, strict=True):
            assert torch.equal(a['inputs']['images'], b['inputs']['images'])

    @pytest.mark.slow
    def test_each_is_logged_once_by_all_workers_together(self, broken, log):
        dataset = ProductDataset(broken, pipeline(False))
        dataset.full_init()  # as the Runner does, before workers start
        loader = DataLoader(
            dataset,
            batch_size=1,
            num_workers=2,
            collate_fn=collate_products,
            sampler=[i for i in range(36) if i % 6 in (1, 2, 4)],
            multiprocessing_context='fork',
        )
        assert len(list(loader)) == 18
        for image_id in ("'p1#0'", "'p2#0'", "'p2#1'", "'p4#0'"):
            assert log().count(image_id) == 1
        dataset.on_epoch_start(1)
        assert 'pictures of 3 products could not be decoded' in log()

    @pytest.mark.slow
    def test_strict_raises_and_names(self, broken):
        dataset = ProductDataset(broken, pipeline(False), strict=True)
        with pytest.raises(ImageDecodeError, match="'p4#0' of product 'p4'"):
            dataset[4]
        loader = DataLoader(
            dataset,
            num_workers=1,
            collate_fn=collate_products,
            sampler=[4],
            multiprocessing_context='fork',
        )
        with pytest.raises(ImageDecodeError, match='p4#0'):
            list(loader)
        with pytest.raises(ImageDecodeError, match='p2#1'):
            ProductImageDataset(broken, pipeline(False), strict=True)[5]

    def test_evaluation_takes_the_next_picture(self, broken):
        dataset = ProductImageDataset(broken, pipeline(False))
        assert [_value(dataset[i]) for i in range(len(dataset))] == [
            0,
            1,
            11,
            11,
            30,
            30,
            30,
            31,
            50,
            50,
            51,
        ]

    def test_gives_up_when_nothing_can_be_read(self, tmp_path):
        rows = [
            dict(product_id=str(i), text='t', images=[dict(bytes=b'x', source='s')])
            for i in range(3)
        ]
        dataset = ProductDataset(write_rows(rows, tmp_path / 'c.parquet'), pipeline(False))
        with pytest.raises(ImageDecodeError, match='no readable picture in 100 attempts'):
            dataset[0]

    def test_broken_row_groups(self, tmp_path, log):
        """One is found when the catalogue is opened, one when its pictures are read."""
        path = write_rows(make_rows(12), tmp_path / 'c.parquet')  # groups of three
        break_group(path, 1)
        damage_pictures(path, 2)
        with pytest.raises(CatalogueError, match='row group 1, rows 4 to 6, cannot be read'):
            len(ProductDataset(path, pipeline(False), strict=True))
        dataset = ProductDataset(path, pipeline(False))
        assert len(dataset) == 9
        assert dataset.catalogue.report.num_skipped == 3
        ids = [dataset[i]['data_samples'].product_id for i in range(9)]
        assert ids[:3] == ['p0', 'p1', 'p2']
        assert ids[6:] == ['p9', 'p10', 'p11']
        assert set(ids[3:6]) <= {'p0', 'p1', 'p2', 'p9', 'p10', 'p11'}
        assert ids == [dataset[i]['data_samples'].product_id for i in range(9)]
        assert log().count('row group 2, rows 7 to 9, cannot be read') == 3  # once a product

    def test_file_that_goes_away(self, tmp_path):
        path = write_rows(make_rows(3), tmp_path / 'c.jsonl')
        dataset = ProductDataset(path, pipeline(False))
        assert len(dataset) == 3
        for image in read_catalogue(path)[1]['images']:
            with open(image['path'], 'wb'):
                pass
        assert dataset[1]['data_samples'].product_id == 'p2'


class TestLoaders:
    @pytest.fixture(autouse=True)
    def scope(self):
        init_default_scope('eclip_mm')

    def loader(self, path, num_workers, **cfg):
        return Runner.build_dataloader(
            dict(
                batch_size=4,
                num_workers=num_workers,
                drop_last=True,
                sampler=dict(type='ResumableSampler', shuffle=True),
                collate_fn=dict(type='collate_products'),
                dataset=dict(type='ProductDataset', catalogue=str(path), pipeline=pipeline(True)),
                **cfg,
            ),
            seed=3,
        )

    def epochs(self, loader, num=2):
        batches = []
        for epoch in range(num):
            loader.sampler.set_epoch(epoch)
            batches += list(loader)
        return batches

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ('num_workers', 'context'), [(1, 'fork'), (2, 'fork'), (1, 'forkserver')]
    )
    def test_workers_do_not_change_samples(self, noisy, num_workers, context):
        expected = self.epochs(self.loader(noisy, 0))
        assert len(expected) == 4
        got = self.epochs(
            self.loader(
                noisy, num_workers, persistent_workers=True, multiprocessing_context=context
            )
        )
        for a, b in zip(expected, got, strict=True):
            assert torch.equal(a['inputs']['images'], b['inputs']['images'])
            assert torch.equal(a['inputs']['input_ids'], b['inputs']['input_ids'])
            assert [s.product_id for s in a['data_samples']] == [
                s.product_id for s in b['data_samples']
            ]

    @pytest.mark.slow
    def test_single_picture_products_are_logged_once_per_epoch(self, path, log):
        self.epochs(self.loader(path, 2), num=3)
        for epoch in range(3):
            assert log().count(f'Epoch {epoch}: 1 of 10 products have one picture') == 1

    def test_sliced_and_resumed_epochs(self, path):
        """mmengine cuts an epoch short with num_batch_per_epoch; the epoch is still known."""
        loader = self.loader(path, 0, num_batch_per_epoch=1)
        loader.sampler.set_epoch(5)
        (indices,) = list(loader.batch_sampler)
        assert [i // 10 for i in indices] == [5] * 4
        (batch,) = list(loader)
        assert [s.product_id for s in batch['data_samples']] == [f'p{i % 10}' for i in indices]

    def test_concat_dataset_for_evaluation(self, path, tmp_path):
        more = write_rows(make_rows(2), tmp_path / 'more.jsonl')
        loader = Runner.build_dataloader(
            dict(
                batch_size=7,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='collate_products'),
                dataset=dict(
                    type='ConcatDataset',
                    datasets=[
                        dict(
                            type='ProductImageDataset',
                            catalogue=str(c),
                            split=s,
                            pipeline=pipeline(False),
                        )
                        for c, s in ((path, 'photos'), (more, 'products'))
                    ],
                ),
            )
        )
        splits = [s.split for batch in loader for s in batch['data_samples']]
        assert splits == ['photos'] * 19 + ['products'] * 4
        assert loader.dataset.metainfo == dict(dataset_type='product_catalogue')

    def test_evaluation_with_our_sampler_over_concat(self, path):
        from eclip_mm.registry import DATASETS

        dataset = DATASETS.build(
            dict(
                type='ConcatDataset',
                datasets=[
                    dict(type='ProductImageDataset', catalogue=str(path), pipeline=pipeline(False))
                ]
                * 2,
            )
        )
        sampler = ResumableSampler(dataset, shuffle=False, seed=0)
        sampler.set_epoch(1)
        assert list(sampler) == list(range(38))


class TestCollate:
    def sample(self, length, size=8, value=0):
        return dict(
            inputs=dict(
                images=torch.full((2, 3, size, size), value, dtype=torch.uint8),
                input_ids=torch.arange(1, length + 1),
            ),
            data_samples=value,
        )

    def test_pads_and_masks(self):
        batch = collate_products([self.sample(2, value=7), self.sample(4, value=9)])
        assert batch['inputs']['images'].shape == (2, 2, 3, 8, 8)
        assert batch['inputs']['images'].dtype == torch.uint8
        assert batch['inputs']['images'][1].unique().tolist() == [9]
        assert batch['inputs']['input_ids'].tolist() == [[1, 2, 0, 0], [1, 2, 3, 4]]
        assert batch['inputs']['attention_mask'].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
        assert batch['inputs']['attention_mask'].dtype == torch.long
        assert batch['data_samples'] == [7, 9]

    def test_other_padding(self):
        batch = collate_products([self.sample(1), self.sample(2)], pad_token_id=5)
        assert batch['inputs']['input_ids'].tolist() == [[1, 5], [1, 2]]
        assert batch['inputs']['attention_mask'].tolist() == [[1, 0], [1, 1]]

    def test_pictures_of_different_sizes(self):
        with pytest.raises(ValueError, match='end the pipeline with'):
            collate_products([self.sample(1), self.sample(1, size=9)])


def test_pack_refuses_views_of_different_sizes(tmp_path):
    rows = [
        dict(
            product_id='1',
            text='t',
            images=[
                dict(bytes=plain_png(1), source='a'),
                dict(bytes=plain_png(1, width=9), source='b'),
            ],
        )
    ]
    steps = [t for t in pipeline(False) if t['type'] != 'Resize']
    dataset = ProductDataset(write_rows(rows, tmp_path / 'c.parquet'), steps)
    with pytest.raises(ValueError, match="product '1' differ in size"):
        dataset[0]


def test_a_pipeline_can_be_exchanged(tmp_path):
    """As mmengine's PipelineSwitchHook does."""
    dataset = ProductDataset(str(write_rows(make_rows(2), tmp_path / 'c.jsonl')), [])
    dataset.pipeline = lambda results: results['product_id']
    assert dataset[0] == dataset.catalogue[0]['product_id']
