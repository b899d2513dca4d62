"""The generated catalogue: exact boxes, equal on all machines, splits that do not leak."""

import dataclasses
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eclip_mm.datasets import read_catalogue
from eclip_mm.datasets.synthetic import (
    SyntheticCatalogueConfig,
    generate,
    generate_row,
    iter_rows,
    product_spec,
    render_picture,
    scenes,
    write_synthetic_catalogue,
)
from eclip_mm.datasets.synthetic.attributes import COLOURS, num_combinations
from helpers.processes import Program, wait_until

#: small, with every source and split
SMALL = dict(
    num_products=64,
    num_heldout_products=8,
    merchant=1,
    comment=1,
    video=1,
    max_photo_products=16,
    image_size=48,
)
SPLITS = ('train', 'photos', 'products')


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    return write_synthetic_catalogue(
        SyntheticCatalogueConfig(**SMALL), tmp_path_factory.mktemp('synthetic')
    )


def every_picture(paths, *splits):
    for split in splits:
        for row in read_catalogue(paths[split], strict=True):
            for image in row['images']:
                yield row, image


# --- the boxes ---------------------------------------------------------------------------


def redraw(monkeypatch, config, source, number, product_id, colour):
    """A picture of ``source`` with one product painted in one grey.

    Returns:
        The float canvas of the last attempt before light and blur but with
        all that lies over the products, how many pixels the product covers by
        itself, and the boxes.
    """
    seen = {}
    render = scenes._render_product

    def painted(canvas, owner, item, index):
        if item.spec.product_id == product_id:
            item = dataclasses.replace(
                item,
                spec=dataclasses.replace(item.spec, colour='paint', second_colour=None, mark=None),
            )
            alone = render(np.zeros_like(canvas), np.zeros_like(owner), item, 1)
            seen.update(canvas=canvas, alone=alone)
        return render(canvas, owner, item, index)

    target, *others = (product_spec(config, k) for k in range(number, number + 9))
    with monkeypatch.context() as patch:
        patch.setitem(COLOURS, 'paint', (colour,) * 3)
        patch.setattr(scenes, '_render_product', painted)
        rng = np.random.default_rng(number)
        boxes = render_picture(
            rng, target, others if source != 'merchant' else [], source, 64, (0.4, 0.55)
        )[1]  # crowded: products hide each other
    return seen.get('canvas'), seen.get('alone'), boxes


@pytest.mark.parametrize('source', scenes.SOURCES)
def test_boxes_are_the_bounds_of_what_is_seen_of_each_product(monkeypatch, source):
    config = SyntheticCatalogueConfig(**SMALL)
    with_box = without_box = hidden = exact = 0
    for number in range(6):
        for product in range(number, number + (9 if source != 'merchant' else 1)):
            product_id = product_spec(config, product).product_id
            black, alone, boxes = redraw(monkeypatch, config, source, number, product_id, 0)
            white, _, again = redraw(monkeypatch, config, source, number, product_id, 240)
            assert boxes == again  # where things lie does not depend on their colour
            visible = (white - black)[..., 0] > 119  # at least half of the pixel is product
            share = visible.sum() / alone
            found = [b['bbox'] for b in boxes if b['product_id'] == product_id]
            needed = 0.6 if product == number else 0.3
            # where two soft edges meet, who owns a pixel is a matter of definition
            if abs(share - needed) > 0.03:
                assert len(found) == (share > needed)
            if found:
                ys, xs = np.nonzero(visible)
                bounds = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                assert np.abs(np.subtract(found[0], bounds)).max() <= 1
                exact += found[0] == bounds
            with_box += len(found)
            without_box += not found
            hidden += share < 0.97
    if source == 'merchant':  # nothing else in the picture
        assert exact == with_box == 6
    else:  # the cases that matter did occur
        assert exact >= 0.75 * with_box and with_box > 36
        assert hidden > 5 and without_box > 0


def test_a_box_moves_with_its_product():
    spec = product_spec(SyntheticCatalogueConfig(**SMALL), 0)
    size, half = 40, 8.0
    boxes = []
    for x in (12.0, 20.0):
        owner = np.full((size, size), -1)
        scenes._render_product(
            np.zeros((size, size, 3)),
            owner,
            scenes._Placed(dataclasses.replace(spec, shape='ball'), x, 15.0, half, 0.3),
            0,
        )
        ys, xs = np.nonzero(owner == 0)
        boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    # a disc of radius 0.92 * 8 = 7.36 around (12, 15) reaches from x = 4.64 to 19.36: of column 4
    # the samples at 4.75 lie inside, one half of the pixel, and so at the other three sides
    assert boxes[0] == [4, 7, 20, 23]
    assert boxes[1] == [12, 7, 28, 23]


def test_products_of_a_picture(written):
    counts = {source: [] for source in scenes.SOURCES}
    for row, image in every_picture(written, *SPLITS):
        shown = [box['product_id'] for box in image['boxes']]
        assert len(set(shown)) == len(shown)
        assert row['product_id'] in shown
        counts[image['source']].append(len(shown))
    assert set(counts['merchant']) == {1}
    for source in ('comment', 'video'):
        assert min(counts[source]) >= 3, 'two other products at least'


# --- the splits --------------------------------------------------------------------------


def test_heldout_products_are_never_seen_in_training(monkeypatch, written):
    for row, image in every_picture(written, 'train', 'photos'):
        assert row['product_id'].startswith('product-')
        assert all(box['product_id'].startswith('product-') for box in image['boxes'])
    beside = {
        box['product_id'][:8]
        for row, image in every_picture(written, 'products')
        for box in image['boxes']
        if box['product_id'] != row['product_id']
    }
    assert beside == {'product-', 'heldout-'}

    drawn = set()  # also what is hidden too well to get a box

    def record(rng, target, others, source, *args):
        drawn.update(spec.product_id for spec in (target, *others))
        return np.zeros((48, 48, 3), dtype=np.uint8), []

    monkeypatch.setattr(generate, 'render_picture', record)
    config = SyntheticCatalogueConfig(**SMALL)
    for split, rows in (('train', 64), ('photos', 16)):
        for index in range(rows):
            generate_row(config, split, index)
    assert drawn == {f'product-{k:07d}' for k in range(64)}


def test_heldout_photos_are_new_pictures(written):
    trained = {image['bytes'] for _, image in every_picture(written, 'train')}
    photos = {image['bytes'] for _, image in every_picture(written, 'photos')}
    assert len(trained) == 64 * 3 and len(photos) == 16 * 2
    assert not trained & photos


def test_products_are_all_different(written):
    rows = [*read_catalogue(written['train']), *read_catalogue(written['products'])]
    config = SyntheticCatalogueConfig(**SMALL)
    specs = [
        dataclasses.replace(product_spec(config, k), product_id='', title='')
        for k in range(len(rows))
    ]
    assert len(set(specs)) == len(rows) == 72
    for row, spec in zip(rows, specs, strict=True):
        assert row['category'] == spec.shape and spec.shape in row['text']
        assert spec.colour in row['text']


def test_a_split_without_pictures_is_left_out(tmp_path):
    paths = write_synthetic_catalogue(
        SyntheticCatalogueConfig(
            **{**SMALL, 'num_heldout_products': 0, 'comment': 0, 'video': 0}, heldout_photos=0
        ),
        tmp_path,
    )
    assert set(paths) == {'train'}
    assert sorted(p.name for p in tmp_path.iterdir()) == ['config.json', 'train.parquet']


# --- the same everywhere -----------------------------------------------------------------

#: every field by name: other defaults are no reason to fail
PINNED = dict(
    SMALL,
    heldout_photos=2,
    image_format='png',
    attributes=('pattern', 'mark'),
    num_shapes=12,
    num_colours=12,
    num_others=(2, 3),
    object_scale=(0.27, 0.42),
    seed=0,
)
#: id, text and sha256 of the decoded pixels of a row, as one machine made them: a processor,
#: system or version of numpy that draws anything else fails here, and so does a change of the
#: renderer, which then has to say in the changelog that old and new catalogues differ
PIXELS = {
    'train': (
        'product-0000005',
        'purple and lime halved tile with teal frame logo, free returns',
        'abf9ccee671fbaac',
    ),
    'photos': (
        'product-0000005',
        'purple and lime halved tile with teal frame logo, free returns',
        'b4a6fa18111fee4f',
    ),
    'products': (
        'heldout-0000002',
        'genuine pink and brown dotted moon with brown chevron logo, gift idea',
        '038ae5819d0fa9c5',
    ),
}


@pytest.mark.parametrize('split', SPLITS)
def test_pixels_are_the_same_on_every_machine(split):
    index = 66 if split == 'products' else 5
    row = generate_row(SyntheticCatalogueConfig(**PINNED), split, index)
    digest = hashlib.sha256()
    for image in row['images']:
        digest.update(np.asarray(Image.open(io.BytesIO(image['bytes']))).tobytes())
    assert (row['product_id'], row['text'], digest.hexdigest()[:16]) == PIXELS[split]


@pytest.mark.slow
def test_number_of_workers_does_not_matter(written, tmp_path):
    config = SyntheticCatalogueConfig(**SMALL)
    paths = write_synthetic_catalogue(config, tmp_path, num_workers=2)
    for split in SPLITS:
        assert pq.read_table(paths[split]).equals(pq.read_table(written[split]))
    with ThreadPoolExecutor(1) as pool:  # the path of one worker, without starting a process
        rows = list(iter_rows(config, 'train', pool, num_pending=1))
    assert rows == list(iter_rows(config, 'train'))


ENDLESS = """
import sys
from eclip_mm.datasets.synthetic import SyntheticCatalogueConfig, write_synthetic_catalogue
def announced(rows):
    for row in rows:
        print('a row', flush=True)
        yield row
if __name__ == '__main__':
    config = SyntheticCatalogueConfig(num_products=10_000, num_heldout_products=0)
    write_synthetic_catalogue(config, sys.argv[1], num_workers=2, progress=announced)
"""


@pytest.mark.slow
def test_workers_end_when_the_main_process_is_killed(tmp_path):
    script, log = tmp_path / 'endless.py', tmp_path / 'log.txt'
    script.write_text(ENDLESS)
    main = Program([script, tmp_path / 'data'], log, tmp_path, dict(os.environ))
    wait_until(lambda: log.exists() and 'a row' in log.read_text())  # the workers are running
    workers = psutil.Process(main.pid).children(recursive=True)
    main.kill()  # with -9 it cannot end them itself
    main.wait()
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=60)[1]


def test_another_seed_is_another_catalogue():
    rows = [
        generate_row(SyntheticCatalogueConfig(**SMALL, seed=seed), 'train', 3)
        for seed in (0, 0, 1)
    ]
    assert rows[0] == rows[1]
    assert rows[0]['images'][1]['bytes'] != rows[2]['images'][1]['bytes']


def test_a_million_products_are_made_lazily(monkeypatch):
    config = SyntheticCatalogueConfig(num_products=1_000_000, image_size=48)
    made = []
    monkeypatch.setattr(
        generate, 'product_spec', lambda *args: made.append(args) or product_spec(*args)
    )
    first, last = (generate_row(config, 'train', index) for index in (0, 999_999))
    assert 0 < len(made) < 100  # nothing grows with the catalogue
    assert (first['product_id'], last['product_id']) == ('product-0000000', 'product-0999999')
    assert len(first['images']) == 6


# --- files and configs -------------------------------------------------------------------


def test_what_is_there_is_reused_and_another_config_refused(written, monkeypatch):
    folder = written['train'].parent
    before = {path: path.stat().st_mtime_ns for path in written.values()}
    monkeypatch.setattr(generate, 'generate_row', None)  # nothing may be generated
    assert write_synthetic_catalogue(SyntheticCatalogueConfig(**SMALL), folder) == written
    assert {path: path.stat().st_mtime_ns for path in written.values()} == before
    with pytest.raises(FileExistsError, match='another config.*choose another folder'):
        write_synthetic_catalogue(SyntheticCatalogueConfig(**SMALL, seed=1), folder)


def test_an_interrupted_run_continues_with_whole_splits(written, tmp_path, monkeypatch):
    config = SyntheticCatalogueConfig(**SMALL)
    make = generate.generate_row

    def interrupted(config, split, index):
        if split == 'photos' and index == 7:
            raise KeyboardInterrupt
        return make(config, split, index)

    with monkeypatch.context() as patch:
        patch.setattr(generate, 'generate_row', interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic_catalogue(config, tmp_path)
    assert (tmp_path / 'train.parquet').exists() and not (tmp_path / 'photos.parquet').exists()
    paths = write_synthetic_catalogue(config, tmp_path)
    for split in SPLITS:
        assert pq.read_table(paths[split]).equals(pq.read_table(written[split]))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(num_products=63), 'num_products must be from 64 to 1,000,000, got 63'),
        (dict(num_products=1_000_001), 'num_products must be from 64'),
        (
            dict(num_products=140, num_heldout_products=5, attributes=()),
            'distinguish only 144 products',
        ),
        (dict(num_shapes=13), 'num_shapes must be from 2 to 12'),
        (dict(attributes=('size',)), "attributes must be among .*'size'"),
        (dict(num_others=(1, 3)), 'num_others must be .* 2 <= low <= high'),
        (dict(num_others=(4, 3)), 'num_others must be'),
        (dict(object_scale=(0.5, 0.7)), 'object_scale must be'),
        (dict(image_size=32), 'image_size must be at least 48'),
        (dict(image_format='webp'), "image_format must be 'png' or 'jpeg', got 'webp'"),
        (dict(merchant=0, comment=0, video=0), 'at least 1 picture'),
    ],
)
def test_bad_configs_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        SyntheticCatalogueConfig(**options)


def test_combinations_are_counted():
    assert num_combinations(()) == 12 * 12
    # plain, or 6 patterns with 11 second colours
    assert num_combinations(('pattern',)) == 144 * (1 + 6 * 11)
    # none, or 12 marks in 11 colours
    assert num_combinations(('pattern', 'mark')) == 144 * 67 * (1 + 12 * 11)


def test_a_source_that_does_not_exist_is_an_error():
    spec = product_spec(SyntheticCatalogueConfig(**SMALL), 0)
    with pytest.raises(ValueError, match="source must be one of .*'selfie'"):
        render_picture(np.random.default_rng(0), spec, [], 'selfie', 48)
