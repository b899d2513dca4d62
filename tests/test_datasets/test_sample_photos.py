import json

import numpy as np
import pytest

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters import sample_pictures, write_sample_photos
from eclip_mm.datasets.converters.sample_photos import NUM_PICTURES
from helpers.catalogues import encode, make_rows, plain_png, write_rows


def test_pictures_are_spread_and_of_the_sources_asked_for(tmp_path):
    rows = make_rows(3, sources=['merchant', *['comment'] * 6, 'video'])
    rows[1]['images'] = [dict(bytes=plain_png(7), source='video')]
    source, target = write_rows(rows, tmp_path / 'all.parquet'), tmp_path / 'few.parquet'
    assert sample_pictures(source, target, dict(comment=3, merchant=2)) == (2, 8)
    few = read_catalogue(target, strict=True)
    assert few.product_ids == ['p0', 'p2']
    for row, whole in zip(few, (rows[0], rows[2]), strict=True):
        assert row['images'] == [whole['images'][i] for i in (0, 1, 3, 5)]
        assert (row['text'], row['category']) == (whole['text'], whole['category'])
    with pytest.raises(CatalogueError, match='sources crop; it has merchant, comment, video'):
        sample_pictures(source, tmp_path / 'none.parquet', dict(crop=1))
    assert not (tmp_path / 'none.parquet').exists()


def write_upstream(folder, num_photos=6):
    """Both data sets in their own layouts: one grocery product, two snacks in every frame."""
    grocery, snacks = folder / 'GroceryStoreDataset', folder / 'snacks'
    photos = {split: [f'{split}/{i}.jpg' for i in range(num_photos)] for split in ('train', 'val')}
    for split, names in photos.items():
        (grocery / 'dataset' / split).mkdir(parents=True)
        for i, name in enumerate(names):
            picture = np.full((40, 600, 3), 20 * i, np.uint8)
            (grocery / 'dataset' / name).write_bytes(encode(picture, 'JPEG'))
        listed = ''.join(f'{name}, 0, 0\n' for name in names)
        (grocery / 'dataset' / f'{split}.txt').write_text(listed)
        (snacks / 'images' / split).mkdir(parents=True)
        for i in range(num_photos):
            picture = np.full((80, 60, 3), 20 * i, np.uint8)
            (snacks / 'images' / split / f'{i}.jpg').write_bytes(encode(picture, 'JPEG'))
        boxes = [
            dict(id=2 * i + k, image_id=i, category_id=k, bbox=[0, 40 * k, 60, 40])
            for i in range(num_photos)
            for k in (0, 1)
        ]
        images = [
            dict(id=i, file_name=f'{split}/{i}.jpg', width=60, height=80)
            for i in range(num_photos)
        ]
        categories = [dict(id=0, name='Chips'), dict(id=1, name='Nuts')]
        (snacks / 'annotations').mkdir(exist_ok=True)
        (snacks / 'annotations' / f'{split}.json').write_text(
            json.dumps(dict(images=images, annotations=boxes, categories=categories))
        )
    (snacks / 'products.json').write_text(
        '[{"product_id": "1", "name": "Chips"}, {"product_id": "2", "name": "Nuts"}]'
    )
    (grocery / 'dataset' / 'classes.csv').write_text(
        'name,id,coarse,coarse id,iconic,description\nMilk,0,Dairy,0,/train/0.jpg,/no.txt\n'
    )
    return grocery, snacks


def test_the_sample_is_made_from_the_layouts_of_the_data_sets(program, tmp_path):
    grocery, snacks = write_upstream(tmp_path)
    text, _ = program('dataset_converters/sample_photos.py', grocery, snacks, tmp_path / 'sample')
    assert 'grocery/train.parquet: 1 products, 5 pictures' in text
    found = {}
    for name in NUM_PICTURES:
        rows = read_catalogue(tmp_path / 'sample' / name, strict=True)
        found[name] = [row['images'] for row in rows]
    sources = {name: [image['source'] for image in rows[0]] for name, rows in found.items()}
    assert sources == {
        'grocery/train.parquet': ['merchant', *['comment'] * 4],
        'grocery/val.parquet': ['comment'] * 2,
        'snacks/train.parquet': ['video', 'crop'] * 5,
        'snacks/val.parquet': ['video'] * 6,
    }
    assert all(len(image['boxes']) == 2 for image in found['snacks/val.parquet'][1])
    write_sample_photos(grocery, snacks, tmp_path / 'again')
    for name in NUM_PICTURES:
        again = (tmp_path / 'again' / name).read_bytes()
        assert again == (tmp_path / 'sample' / name).read_bytes()
    _, error = program(
        'dataset_converters/sample_photos.py', snacks, snacks, tmp_path / 'x', expected=1
    )
    assert 'has a classes.csv' in error.splitlines()[-1]


class TestRepository:
    @pytest.fixture
    def folder(self, repo_root):
        return repo_root / 'sample_photos'

    def test_size_and_licences(self, folder):
        files = [path for path in folder.rglob('*') if path.is_file()]
        assert sum(path.stat().st_size for path in files) <= 12e6
        readme = (folder / 'README.md').read_text(encoding='utf-8')
        assert 'MIT' in readme and 'CC BY 4.0' in readme
        assert 'Marcus Klasson' in (folder / 'grocery' / 'LICENSE').read_text()
        assert {path.relative_to(folder).as_posix() for path in files} == {
            'README.md',
            'grocery/LICENSE',
            *NUM_PICTURES,
        }

    def test_catalogues_are_as_the_readme_says_and_no_test_picture_is_trained_on(self, folder):
        readme = (folder / 'README.md').read_text(encoding='utf-8')
        pictures = {}
        for name in NUM_PICTURES:
            rows = read_catalogue(folder / name, strict=True)
            pictures[name] = [image for row in rows for image in row['images']]
            assert f'| `{name}` | {len(rows)} | {len(pictures[name])} |' in readme
            assert all(i.get('boxes') for i in pictures[name] if i['source'] == 'video')
        for data in ('grocery', 'snacks'):
            train, val = (
                {image['bytes'] for image in pictures[f'{data}/{split}.parquet']}
                for split in ('train', 'val')
            )
            assert not train & val
