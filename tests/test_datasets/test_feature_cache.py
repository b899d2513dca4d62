"""The folder of a feature cache, and the transform that reads it."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from eclip_mm.datasets.feature_cache import CacheError, CacheReader, CacheWriter, FeatureCard
from eclip_mm.datasets.feature_cache.store import feature_key
from eclip_mm.datasets.transforms import CachedPictures, ImageDecodeError
from eclip_mm.datasets.transforms.cached_pictures import fields_to_store
from helpers.catalogues import encode

CARD = FeatureCard('abc', 'layer 0', (16, 16), (2, 3))
TRANSFORMS = [
    dict(type='LoadProductImages'),
    dict(type='RandomResizedCrop', size=16, scale=(0.3, 1.0)),
    dict(type='RandomFlip', prob=0.5),
]


def features(value: float) -> np.ndarray:
    return np.full(CARD.shape, value, dtype=np.float32)


def test_what_was_written_is_read_by_its_key(tmp_path):
    with CacheWriter(tmp_path, CARD) as writer:
        writer.add('a', features(0.1), dict(boxes=[]))
        writer.add_broken('b', 'it is not a picture')
        writer.add('c', features(2.0), dict(boxes=[[1, 2, 3, 4]]))
    reader = pickle.loads(pickle.dumps(CacheReader(tmp_path)))
    assert len(reader) == 3 and 'd' not in reader
    found, stored = reader.read('c')
    assert found.dtype == np.float16 and (found == 2).all()
    assert stored == dict(boxes=[[1, 2, 3, 4]])
    np.testing.assert_allclose(reader.read('a')[0], 0.1, rtol=2**-11)  # half a unit of float16
    assert reader.read('b') == (None, dict(error='it is not a picture'))


def test_what_a_killed_writer_left_is_not_read(tmp_path):
    writer = CacheWriter(tmp_path, CARD)
    writer.add('a', features(1), {})
    writer.add('b', features(2), {})
    (index,), (stored,) = tmp_path.glob('*.jsonl'), tmp_path.glob('*.f16')
    index.write_bytes(index.read_bytes()[:-3])  # half a line
    assert set('ab') & set(CacheReader(tmp_path)._place) == {'a'}
    index.write_text(
        ''.join(json.dumps(dict(key=k, row=r, fields={})) + '\n' for r, k in enumerate('ab'))
    )
    stored.write_bytes(stored.read_bytes()[:-1])  # half of the features
    assert 'a' in CacheReader(tmp_path) and 'b' not in CacheReader(tmp_path)
    # another process continues in a part of its own, beside one that still runs
    with CacheWriter(tmp_path, CARD) as other:
        other.add('b', features(3), {})
    assert (CacheReader(tmp_path).read('b')[0] == 3).all()


def test_a_writer_without_work_leaves_no_part(tmp_path):
    with CacheWriter(tmp_path, CARD):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ['cache.json']


def test_a_part_that_is_given_up_is_not_another_writers(tmp_path, monkeypatch):
    first, others = CacheWriter(tmp_path, CARD), []
    unlink = Path.unlink

    def then_another_process_starts(path):
        unlink(path)
        if not others:
            others.append(CacheWriter(tmp_path, CARD))
            others[0].add('a', features(1), {})

    monkeypatch.setattr(Path, 'unlink', then_another_process_starts)
    first.close()
    others[0].close()
    assert (CacheReader(tmp_path).read('a')[0] == 1).all()


def test_other_features_are_refused_with_both_values(tmp_path):
    CacheWriter(tmp_path, CARD).close()
    other = FeatureCard('abd', 'layer 0', (16, 16), (2, 4))
    with pytest.raises(CacheError, match=r"weights is 'abc', wanted is 'abd'; shape is \(2, 3\)"):
        CacheWriter(tmp_path, other)
    with pytest.raises(CacheError, match='there is no feature cache'):
        CacheReader(tmp_path / 'none')
    (tmp_path / 'cache.json').write_text('[]')
    with pytest.raises(CacheError, match='not the card'):
        CacheReader(tmp_path)


def test_features_beyond_float16_are_refused(tmp_path):
    with (
        CacheWriter(tmp_path, CARD) as writer,
        pytest.raises(CacheError, match='not finite in float16.*70000'),
    ):
        writer.add('a', features(70000), {})


def sample(contents: list[bytes], seed: int = 0) -> dict:
    return dict(
        product_id='p',
        text='a text',
        image_records=[
            dict(bytes=content, source='x', image_id=f'p#{k}')
            for k, content in enumerate(contents)
        ],
        rng=np.random.default_rng(seed),
    )


def picture(seed: int) -> bytes:
    return encode(np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8))


def test_views_follow_from_the_picture_and_their_number_alone():
    transform = CachedPictures(TRANSFORMS, views=3)
    a, b = picture(0), picture(1)
    views = [
        np.asarray(transform.make(dict(source='x'), a, view)['images'][0]) for view in (0, 1, 2)
    ]
    assert not (views[0] == views[1]).all()
    seen = set()
    for seed in range(20):
        results = transform(sample([b, a], seed))
        found = np.asarray(results['images'][1])
        matches = [k for k, view in enumerate(views) if (found == view).all()]
        assert len(matches) == 1
        seen.update(matches)
        assert results['text'] == 'a text' and results['ori_shape'] == (20, 30)
    assert seen == {0, 1, 2}


def test_one_picture_twice_gives_two_views():
    transform = CachedPictures(TRANSFORMS, views=2)
    for seed in range(5):
        first, second = (
            np.asarray(i) for i in transform(sample([picture(0)] * 2, seed))['images']
        )
        assert not (first == second).all()


def test_the_cache_gives_the_features_of_the_same_views(tmp_path):
    plain = CachedPictures(TRANSFORMS, views=2)

    def stand_in(image) -> np.ndarray:
        return np.asarray(image)[:2, :3, 0] / 255

    with CacheWriter(tmp_path, CARD) as writer:
        for content in map(picture, range(3)):
            for view in range(2):
                made = plain.make({}, content, view)
                writer.add(
                    plain.key({}, content, view),
                    stand_in(made['images'][0]),
                    fields_to_store(made),
                )
        writer.add_broken(plain.key({}, b'no picture', 0), 'why it is broken')
        writer.add_broken(plain.key({}, b'no picture', 1), 'why it is broken')
    cached = CachedPictures(TRANSFORMS, views=2, folder=tmp_path)
    for seed in range(6):
        contents = [picture(seed % 3), picture((seed + 1) % 3)]
        wanted, found = plain(sample(contents, seed)), cached(sample(contents, seed))
        for image, feats in zip(wanted['images'], found['images'], strict=True):
            np.testing.assert_allclose(feats, stand_in(image), rtol=2**-11)
        assert found['ori_shape'] == wanted['ori_shape'] and found['img_shape'] == (16, 16)
        assert found['rng'].random() == wanted['rng'].random()  # what follows draws the same
    with pytest.raises(ImageDecodeError, match='why it is broken') as caught:
        cached(sample([picture(0), b'no picture']))
    assert caught.value.image_index == 1
    with pytest.raises(CacheError, match="picture 'p#0' is not in the feature cache"):
        cached(sample([picture(7)]))
    other = CachedPictures(TRANSFORMS[:2], views=2, folder=tmp_path)  # other preprocessing
    with pytest.raises(CacheError, match='of other transforms'):
        other(sample([picture(0)]))


def test_data_sets_of_one_folder_share_its_index_until_it_grows(tmp_path):
    with CacheWriter(tmp_path, CARD) as writer:
        writer.add('a', features(1), {})
    transforms = [CachedPictures(TRANSFORMS, views=n, folder=str(tmp_path)) for n in (1, 2)]
    assert transforms[0].reader is transforms[1].reader
    with CacheWriter(tmp_path, CARD) as writer:
        writer.add('b', features(1), {})
    later = CachedPictures(TRANSFORMS, folder=tmp_path).reader
    assert 'b' in later and 'b' not in transforms[0].reader


def test_a_stored_error_names_the_picture_that_asks(tmp_path):
    broken = b'<html>not a picture</html>'
    plain = CachedPictures(TRANSFORMS)
    with pytest.raises(ImageDecodeError) as caught:
        plain.make(dict(image_id='other#3'), broken, 0)
    caught = pickle.loads(pickle.dumps(caught.value))
    with CacheWriter(tmp_path, CARD) as writer:
        writer.add_broken(plain.key({}, broken, 0), caught.reason)
    with pytest.raises(ImageDecodeError) as wanted:
        plain(sample([broken]))
    with pytest.raises(ImageDecodeError) as found:
        CachedPictures(TRANSFORMS, folder=tmp_path)(sample([broken]))
    assert "picture 'p#0' of product 'p'" in str(found.value)
    assert 'other' not in str(found.value) and '?' not in str(found.value)
    assert found.value.reason == wanted.value.reason
    assert str(wanted.value).endswith(found.value.reason) and 'HTML' in found.value.reason


def test_the_key_knows_boxes_recipe_and_view():
    box = dict(bbox=[0, 0, 4, 4], product_id='p')
    keys = {
        feature_key(record, content, recipe, view)
        for record in ({}, dict(boxes=[]), dict(boxes=[box]))
        for content in (b'a', b'b')
        for recipe in ('r', 's')
        for view in (0, 1)
    }
    assert len(keys) == 24
