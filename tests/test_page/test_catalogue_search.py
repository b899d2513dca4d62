"""What the page does, without a browser."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from eclip_mm.evaluation.functional import upsample_score_map
from eclip_mm.index import JudgedSearch, Query, append_judged, judged_figures, read_judged
from eclip_mm.page import ShownProducts
from eclip_mm.page.catalogue_search import Place, first_sentence, with_categories
from helpers.catalogues import make_rows, write_rows


def photo_of(products, number, image=1):
    return products[number]['images'][image]['bytes']


def test_a_photo_finds_its_product_with_title_and_picture(search, products):
    hits = search.search(Query(photo=photo_of(products, 5, image=2)), 4)
    assert len(hits) == 4 and len({hit.product_id for hit in hits}) == 4
    best = hits[0]
    assert (best.product_id, best.number) == (products[5]['product_id'], 2)
    assert best.title == products[5]['text'] and best.category == products[5]['category']
    assert best.score == pytest.approx(1, abs=1e-5)
    assert best.caption() == f'1.00 · {products[5]["text"].split(". ")[0]}'
    stored = Image.open(io.BytesIO(photo_of(products, 5, image=2)))
    np.testing.assert_array_equal(search.picture(best), stored.convert('RGB'))


def test_a_box_is_searched_for_alone(search, products):
    # two products side by side: each half finds its own, whatever the order of the corners
    left, right = (Image.open(io.BytesIO(photo_of(products, n))) for n in (2, 9))
    both = Image.new('RGB', (left.width + right.width, max(left.height, right.height)))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    file = io.BytesIO()
    both.save(file, 'PNG')
    for number, box in (
        (2, (0, 0, left.width, left.height)),
        (9, (both.width + 50, right.height, left.width, -3)),
    ):
        [best] = search.search(Query(photo=file.getvalue(), box=box), 1)
        assert best.product_id == products[number]['product_id'] and best.score > 0.9999


def test_words_and_photo_are_added_in_an_index_of_pictures(search, products):
    photo, words = photo_of(products, 3), 'red mug'
    one, other = (
        query.vectors(search.eclip, 'image')['vectors'][0]
        for query in (Query(words), Query(photo=photo))
    )
    both = Query(words, photo)
    np.testing.assert_allclose(
        both.vectors(search.eclip, 'image')['vectors'][0], one + other, atol=1e-6
    )
    of_both = search.eclip.encode(dict(text=words, image=photo))['vector']
    found = both.vectors(search.eclip, 'instance')['vectors'][0]
    np.testing.assert_allclose(found, of_both, atol=1e-5)


def test_categories_and_more_like_this_hold_together(search, products):
    assert search.categories() == sorted({row['category'] for row in products})
    photo = photo_of(products, 1)
    query = with_categories(Query(photo=photo), [products[1]['category']])
    hits = search.search(query, 20)
    assert {hit.category for hit in hits} == {products[1]['category']} and len(hits) > 1
    like = search.like(query, hits[0])
    more = search.search(like, 20)
    assert {hit.product_id for hit in more} == {hit.product_id for hit in hits[1:]}
    again = search.like(like, more[0])  # only the last one is left out
    found = {hit.product_id for hit in search.search(again, 20)}
    assert found == {hit.product_id for hit in hits} - {more[0].product_id}
    assert with_categories(query, []).where == ()


def test_the_map_is_bright_where_the_picture_is_like_the_query(search, products):
    query = Query('red mug')
    hit = search.search(query, 1)[0]
    stored = search.shown.picture(hit.product_id, hit.number)
    vector = search.eclip.encode('red mug')['vector']
    found = search.eclip.explain(stored, vector)
    drawn = np.asarray(search.why(query, hit), float)
    assert drawn.shape[:2] == (stored.height, stored.width)
    scores = upsample_score_map(np.array(found['map']), drawn.shape[:2])
    colour = drawn.max(axis=2) - drawn.min(axis=2)  # grey is outside
    high, low = scores > np.quantile(scores, 0.9), scores < np.quantile(scores, 0.1)
    assert colour[high].mean() > 2 * colour[low].mean()


def test_a_product_is_pointed_at_in_pixels_of_the_photo(search, products):
    photo = photo_of(products, 0)
    places = search.point(photo, ' red mug \n\nblue mug\nred mug')
    assert [place.found['name'] for place in places] == ['red mug', 'blue mug']
    width, height = Image.open(io.BytesIO(photo)).size
    [x1, y1, x2, y2] = places[0].found['boxes'][0]['box']
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    shown, heat = places[0].drawn()
    assert shown.size == heat.size == (width, height)
    before = np.asarray(Image.open(io.BytesIO(photo)).convert('RGB'))
    assert (np.asarray(shown) != before).any()
    assert places[0].caption().startswith('red mug: box ')


@pytest.mark.parametrize(
    'query, words',
    [
        (Query(), 'Type some words or add a photo'),
        (Query('  '), 'Type some words or add a photo'),
        (Query('mug', box=(0, 0, 9, 9)), 'A box needs a photo'),
        (Query(photo=b'<html>'), 'it is not a picture but an HTML page.'),
        (Query(photo=b''), 'cannot be used as a photo'),
    ],
)
def test_what_cannot_be_searched_for_is_a_sentence(search, query, words):
    with pytest.raises(ValueError, match=words):
        search.search(query, 3)


def test_small_boxes_and_names_that_are_none_are_sentences(search, products):
    photo = photo_of(products, 0)
    with pytest.raises(ValueError, match='less than 4 x 4 pixels in the photo, which is'):
        search.search(Query(photo=photo, box=(3, 3, 5, 90)), 3)
    for data, lines in ((None, 'mug'), (photo, '\n '), (photo, '\n'.join(map(str, range(21))))):
        with pytest.raises(ValueError, match='Add a photo|between 1 and 20 names'):
            search.point(data, lines)


def test_a_judged_search_goes_to_the_file_and_the_evaluation(search, products, tmp_path):
    ids = [row['product_id'] for row in products]
    query = Query(photo=photo_of(products, 4), where=(('product_id', '!=', ids[4]),))
    hits = search.search(query, 5)
    append_judged(tmp_path / 'a/wrong.jsonl', search.judged(query, hits, hits[0], (ids[4],)))
    [judged] = read_judged(tmp_path / 'a/wrong.jsonl')
    assert judged.query == query and judged.wrong == (hits[0].product_id,)
    figures = judged_figures(search.index, search.eclip, [judged], 5)
    assert figures == {
        'right first': (1, 0, 0),
        'right among 5': (1, 0, 0),
        'wrong among 5': (1, 1, 1),
    }
    free = replace(judged, query=replace(query, where=()))
    assert judged_figures(search.index, search.eclip, [free], 5)['right first'] == (1, 0, 1)
    for right, words in (('nobody', "no product 'nobody'"), (hits[0].product_id, 'both wrong')):
        with pytest.raises(ValueError, match=words):
            search.judged(query, hits, hits[0], (right,))
    assert isinstance(search.judged(query, hits, hits[0], ()), JudgedSearch)


def test_a_catalogue_that_is_not_there_or_another_one_is_named(search, tmp_path, monkeypatch):
    other = write_rows(make_rows(3), tmp_path / 'other.parquet')
    with pytest.raises(ValueError, match=r'other.parquet has none of the 16 products'):
        ShownProducts.of_index(search.index, [str(other)])
    monkeypatch.setattr(search.index, 'values_of', lambda column: ['gone.parquet'])
    with pytest.raises(FileNotFoundError, match=r'gone.parquet, which .* give --catalogue'):
        ShownProducts.of_index(search.index)


def test_products_that_the_catalogue_lacks_or_cannot_show(tmp_path):
    rows = make_rows(2)
    rows[0]['images'][0]['bytes'] = b'broken'
    shown = ShownProducts(write_rows(rows, tmp_path / 'shop.parquet'))
    assert shown.title('p1') == 'Product number 1' and shown.title('x') == 'x'
    assert shown.picture('x') is None and shown.picture('p0', 0) is None
    assert shown.picture('p0', 7) is None
    assert shown.picture('p0').getpixel((0, 0)) == (1, 1, 1)  # the next one
    assert shown.names(1) == ['Product number 0'] and len(shown.names(9)) == 2


def test_titles_are_shortened():
    assert first_sentence('Red mug. Holds tea.') == 'Red mug'
    assert first_sentence('x' * 99, 10) == 'x' * 9 + '…'


def test_a_photo_of_one_colour_shows_no_box():
    found = dict(name='red mug', boxes=[], map=np.zeros((4, 4)).tolist())
    place = Place(Image.new('RGB', (64, 64)), found)
    assert place.caption() == 'red mug: nothing stands out in the photo'
    assert [picture.size for picture in place.drawn()] == [(64, 64)] * 2
