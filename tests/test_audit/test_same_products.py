"""One product under two ids beside two products that share a picture."""

import numpy as np
import pytest

from eclip_mm.audit import run_audit
from eclip_mm.audit.features import AuditFeatures
from eclip_mm.audit.pictures import Picture
from eclip_mm.audit.same_pictures import same_pictures
from eclip_mm.audit.same_products import same_products, same_titles
from helpers.audits import photo
from helpers.catalogues import write_rows
from helpers.feature_folders import write_vectors


def features(pictures, categories):
    """Of products whose pictures point at angles in degrees, in two dimensions."""
    angles = np.radians([angle for own in pictures for angle in own])
    owner = np.repeat(np.arange(len(pictures)), [len(own) for own in pictures])
    return AuditFeatures(
        [f'p{k}' for k in range(len(pictures))],
        np.array(categories),
        np.zeros((len(pictures), 2), np.float32),
        np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32),
        owner,
        np.concatenate([np.arange(len(own)) for own in pictures]),
    )


def test_titles_with_the_same_words():
    found = features([[0]] * 7, [0, 0, 1, 0, 0, 0, 0])
    texts = ['Tea pot, blue', 'blue TEA pot', 'blue tea pot', 'tea pot', 'pot 2', 'pot 3', '...']
    assert same_titles(found, texts) == [[0, 1]]


@pytest.mark.parametrize('known, merged', [([], ['p1']), ([('p1', 1)], [])])
def test_what_is_none_of_the_product_does_not_merge_it(known, merged):
    """The products are 40 degrees apart, and both have a picture at 90 degrees."""
    found = features([[0, 90, 3], [40, 90, 43], [200, 203]], [0, 0, 0])
    issues = same_products(found, [[0, 1]], known)
    assert [issue.product_id for issue in issues] == merged


def test_two_ids_of_one_product_share_pictures():
    group = [Picture(k, 0, 'file') for k in range(2)]
    ids = ['a', 'b', 'c']
    assert [i.kind for i in same_pictures([group], ids)] == ['shared_picture'] * 2
    assert same_pictures([group], ids, dict(b='a')) == []
    # a third product has it too: then it is a placeholder, and each names another product
    group.append(Picture(2, 1, 'file'))
    issues = same_pictures([group], ids, dict(b='a'))
    assert [(i.product_id, i.other_product_id) for i in issues] == [
        ('a', 'c'),
        ('b', 'c'),
        ('c', 'a'),
    ]


def test_fixes_of_one_product_under_two_ids_and_of_a_placeholder(tmp_path):
    """p0 and p1 have title and pictures in common; p2 and p3 a title and a placeholder."""
    rng = np.random.default_rng(0)
    images = [[photo(3 * k + j, size=72) for j in range(2)] for k in range(12)]
    vectors = rng.normal(size=(12, 1, 16)) * 3 + rng.normal(size=(12, 2, 16)) * 0.3
    images[1], vectors[1] = images[0], vectors[0]
    for k in (2, 3, 4):
        images[k][1], vectors[k][1] = images[2][1], vectors[2][1]
    titles = ['tea pot', 'Pot, tea', 'T-shirt', 'T-shirt', *map('product {}'.format, range(8))]
    rows, found = [], []
    for k, text in enumerate(titles):
        pictures = [dict(bytes=content, source='merchant') for content in images[k]]
        rows.append(dict(product_id=f'p{k}', text=text, category='c', images=pictures))
        title = vectors[k].mean(axis=0)
        found.append(dict(product_id=f'p{k}', category='c', text=title, pictures=vectors[k]))
    write_rows(rows, tmp_path / 'catalogue.parquet')
    write_vectors(tmp_path / 'features', found)
    audit = run_audit(tmp_path / 'features', tmp_path / 'catalogue.parquet', tmp_path / 'out')
    fixes = [(fix['product_id'], fix['fix'], fix.get('picture')) for fix in audit.fixes]
    assert fixes == [
        ('p1', 'merge', None),
        ('p2', 'exclude', 1),
        ('p3', 'exclude', 1),
        ('p4', 'exclude', 1),
    ]
