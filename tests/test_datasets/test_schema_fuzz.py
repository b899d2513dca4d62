"""Any row is either refused by name or comes back from both carriers as it was."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eclip_mm.datasets import CatalogueError, ParquetCatalogueWriter, read_catalogue, write_jsonl
from eclip_mm.datasets.catalogue import open_file
from eclip_mm.datasets.storage.schema import validate_row
from eclip_mm.datasets.storage.stored_files import StoredFile
from eclip_mm.datasets.storage.tidy import tidy_row
from eclip_mm.datasets.transforms.clean_text import clean_text

# The same examples in each run; a failing one is found again.
quick = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# surrogates as well
texts = st.text(st.characters(), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
values = json_values | st.binary(max_size=4) | st.just(np.nan) | st.just(10**400)


def mostly(good, odd=values):
    """A good value in most cases."""
    return st.one_of(*[good] * 12, odd)


coordinates = st.integers(0, 9) | st.floats(0, 9, width=32) | st.just(np.float32(1.5))
boxes = st.fixed_dictionaries(
    dict(
        bbox=mostly(
            st.tuples(coordinates, coordinates, st.integers(10, 99), st.integers(10, 99)).map(list)
        ),
        product_id=mostly(texts),
    )
)
words = texts.map(lambda text: f'w{text}')
images = st.fixed_dictionaries(
    dict(bytes=mostly(st.binary(min_size=1, max_size=4))),
    optional=dict(source=mostly(words), boxes=mostly(st.lists(mostly(boxes), max_size=2))),
)
rows = st.fixed_dictionaries(
    dict(
        product_id=mostly(words),
        text=mostly(words),
        images=mostly(st.lists(mostly(images), min_size=1, max_size=2)),
    ),
    optional=dict(category=mostly(texts), image=images),
)


@pytest.fixture(scope='module')
def folder():
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path)


def _pictures(row):
    return [
        image['bytes'] if 'bytes' in image else Path(image['path']).read_bytes()
        for image in row['images']
    ]


def _boxes(row):
    return [
        [(np.float32(box['bbox']).tolist(), box['product_id']) for box in image.get('boxes', [])]
        for image in row['images']
    ]


@quick
@given(row=rows)
def test_rows_come_back_or_are_refused(folder, row):
    try:
        expected = tidy_row(row)
        validate_row(expected, 'here')
    except CatalogueError as error:
        assert str(error).startswith('here: ') and len(str(error)) < 600
        expected = None
    for name in ('c.parquet', 'c.jsonl'):
        try:
            if name == 'c.parquet':
                with ParquetCatalogueWriter(folder / name) as writer:
                    writer.write(row)
            else:
                write_jsonl([row], folder / name)
        except CatalogueError:
            assert expected is None
            continue
        (read,) = read_catalogue(folder / name, strict=True)
        for key in ('product_id', 'text', 'category'):
            assert read[key] == expected[key]
        assert _pictures(read) == _pictures(expected)
        assert _boxes(read) == _boxes(expected)
        sources = [image['source'] for image in expected['images']]
        assert [image['source'] for image in read['images']] == sources


@quick
@given(lines=st.lists(json_values.map(json.dumps) | texts, min_size=1, max_size=4))
def test_any_lines_are_rows_or_named(folder, lines):
    content = '\n'.join(lines).encode(errors='surrogatepass')
    (folder / 'd.jsonl').write_bytes(content)
    with pytest.raises(CatalogueError):
        read_catalogue(folder / 'd.jsonl')
    try:
        rows_read = next(open_file(StoredFile(folder / 'd.jsonl')).read_spans([(0, 9)]))
    except CatalogueError:
        return
    for _, row in rows_read:
        if not isinstance(row, Exception):
            with pytest.raises(CatalogueError):
                validate_row(row, 'here')


@quick
@given(text=st.text(st.sampled_from('<>&;#/="\' !-abp\u200b\u200d\ud83d\ude001'), max_size=40))
def test_a_clean_text_is_clean(text):
    cleaned, changes = clean_text(text, max_chars=12)
    assert len(cleaned) <= 12
    assert cleaned.encode().decode() == cleaned
    assert ('no word' in changes) == (not any(c.isalnum() for c in cleaned))
