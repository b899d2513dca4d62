"""The page in a browser: one server, one browser, the sample photos."""

import json
import shutil
from collections.abc import Iterator

import pytest

from eclip_mm.index import Query
from eclip_mm.page.catalogue_search import CatalogueSearch

pytest.importorskip('gradio', reason='Gradio is not installed: pip install -e .[app]')
playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(BROWSER is None, reason='no chromium: apt-get install chromium'),
]


#: as an audit writes it: with links inside, a script, and a title that asks for a picture
REPORT = """<!doctype html><html><head><meta charset="utf-8"><title>Audit</title></head><body>
<a href="#odd">Odd pictures</a><p>a title with <img src="http://example.org/a.png"> in it</p>
<div style="height: 3000px"></div><h2 id="odd">Odd "pictures" &amp; more</h2>
<img alt="thumbnail" src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=">
<button onclick="this.textContent = 'done'">sort</button></body></html>"""


class Visitor:
    """A person at the page.

    Args:
        page: of playwright.
        judged: the file that wrong results go to.
    """

    def __init__(self, page, judged):
        self.page, self.judged = page, judged

    def said(self, text):
        """Wait until the page says something."""
        self.page.locator('[role=status]:visible', has_text=text).wait_for()

    def upload(self, name, data):
        file = dict(name=name, mimeType='image/jpeg', buffer=data)
        self.page.locator('[role=tabpanel]:visible input[type=file]').set_input_files(file)

    def press(self, name):
        self.page.get_by_role('button', name=name, exact=True).click()

    def captions(self):
        return self.page.locator('#results .caption-label').all_inner_texts()


@pytest.fixture(scope='module')
def server(search, tmp_path_factory) -> Iterator[tuple[str, object]]:
    from eclip_mm.page.blocks import build_blocks, launch

    judged = tmp_path_factory.mktemp('judged') / 'searches.jsonl'
    blocks = build_blocks(search, judged, num_hits=6, report=REPORT)
    yield launch(blocks, '127.0.0.1', None, wait=False), judged
    blocks.close(verbose=False)


@pytest.fixture(scope='module')
def browser():
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(
            executable_path=BROWSER, args=['--no-sandbox', '--disable-gpu']
        )
        yield running
        running.close()


@pytest.fixture(scope='module')
def visitor(server, browser) -> Iterator[Visitor]:
    """One visit for all tests, at whose end all requests of the browser are looked at."""
    address, judged = server
    page = browser.new_page(viewport=dict(width=1280, height=900))
    page.set_default_timeout(30_000)
    requests = []
    page.on('request', lambda request: requests.append(request.url))
    page.goto(address)
    page.get_by_label('Words').wait_for()
    yield Visitor(page, judged)
    outside = [url for url in requests if not url.startswith((address, 'data:', 'blob:'))]
    assert requests and not outside


def wanted(search: CatalogueSearch, query: Query) -> list[str]:
    return [hit.caption() for hit in search.search(query, 6)]


def test_search_by_words_with_the_keyboard_alone(visitor, search):
    keyboard = visitor.page.keyboard
    visitor.page.get_by_label('Words').focus()
    keyboard.type('red mug')
    keyboard.press('Enter')
    visitor.said('6 results')
    assert visitor.captions() == wanted(search, Query('red mug'))
    # from the words through photo, box, categories, button and examples to the results
    for _ in range(20):
        keyboard.press('Tab')
        label = visitor.page.evaluate('document.activeElement.ariaLabel')
        if label == 'Thumbnail 1 of 6':
            break
    assert label == 'Thumbnail 1 of 6'
    keyboard.press('Enter')
    first = search.search(Query('red mug'), 1)[0]
    visitor.page.locator('#about', has_text=first.title).wait_for()


def test_why_a_result_was_found(visitor):
    image = visitor.page.locator('#chosen img')
    before = image.get_attribute('src')
    visitor.press('Why was this found?')
    visitor.page.get_by_text('Bright: what is most like the search').wait_for()
    assert image.get_attribute('src') != before


def test_a_bad_upload_gets_a_sentence_and_a_good_one_is_searched_for(visitor, search, products):
    visitor.upload('photo.jpg', b'<html>no photo</html>')
    visitor.said('This file cannot be used as a photo: it is not a picture but an HTML page.')
    photo = products[7]['images'][1]['bytes']
    visitor.upload('photo.jpg', photo)
    visitor.said('The photo is there.')
    visitor.press('Search')
    visitor.said('6 results')
    assert visitor.captions() == wanted(search, Query('red mug', photo))  # both
    visitor.page.get_by_label('Words').fill('')
    visitor.press('Search')
    visitor.page.locator('.caption-label', has_text='1.00').first.wait_for()
    assert visitor.captions() == wanted(search, Query(photo=photo))


def test_a_box_is_drawn_by_two_clicks_or_typed(visitor, search, products):
    photo, box = products[7]['images'][1]['bytes'], visitor.page.get_by_label('Box on the photo')
    frame = visitor.page.locator('.image-frame img').first
    for fraction, answer in ((0.25, 'Now click the opposite'), (0.75, 'The box is searched')):
        place = frame.bounding_box()
        middle = place['x'] + place['width'] / 2
        visitor.page.mouse.click(
            middle + (fraction - 0.5) * place['height'] / 2,
            place['y'] + place['height'] * fraction,
        )
        visitor.said(answer)
    corners = tuple(float(value) for value in box.input_value().split())
    assert len(corners) == 4
    visitor.press('Search')
    visitor.said('6 results')
    assert visitor.captions() == wanted(search, Query(photo=photo, box=corners))
    box.fill('1 2 3')
    visitor.press('Search')
    visitor.said('A box is four numbers')
    box.fill('')


def test_a_category_and_more_like_a_result(visitor, search, products):
    photo, category = products[7]['images'][1]['bytes'], products[1]['category']
    visitor.page.get_by_label('Categories').click()
    visitor.page.get_by_role('option', name=category, exact=True).click()
    visitor.page.keyboard.press('Escape')
    visitor.press('Search')
    visitor.said(f'{sum(row["category"] == category for row in products)} results')
    query = Query(photo=photo, where=(('category', 'in', [category]),))
    assert visitor.captions() == wanted(search, query)
    visitor.page.get_by_label('Thumbnail 2 of').click()
    visitor.press('More like this')
    visitor.said('Products that look like')
    second = search.search(query, 2)[1]
    assert visitor.captions() == wanted(search, search.like(query, second))


def test_a_wrong_result_is_saved(visitor, products):
    visitor.page.get_by_label('Thumbnail 1 of').click()
    visitor.page.get_by_text('This result is wrong').click()
    right = visitor.page.get_by_label('What is right')
    for product, answer in (('nothing', "There is no product 'nothing'"), (None, 'Saved in')):
        right.fill(product or products[7]['product_id'])
        right.press('Enter')
        visitor.press('Save as wrong')
        visitor.said(answer)
        if product:
            right.press('Backspace')
    [line] = visitor.judged.read_text().splitlines()
    saved = json.loads(line)
    assert saved['right'] == [products[7]['product_id']] and len(saved['wrong']) == 1
    assert (visitor.judged.parent / saved['query']['photo']).is_file()


def test_a_product_is_pointed_at(visitor, products):
    visitor.page.get_by_role('tab', name='Point').click()
    visitor.press('Find')
    visitor.said('Add a photo to look into.')
    visitor.upload('photo.jpg', products[3]['images'][1]['bytes'])
    visitor.said('The photo is there.')
    visitor.page.get_by_label('Names of products').fill('red mug\nblue mug')
    visitor.press('Find')
    visitor.said('red mug: box ')
    visitor.page.locator('#boxes img').wait_for()
    heat = visitor.page.locator('#map img')
    before = heat.get_attribute('src')
    visitor.page.get_by_label('blue mug: box').check()
    visitor.said('blue mug: box ')
    playwright.expect(heat).not_to_have_attribute('src', before)


def test_a_port_that_is_taken_is_named(server):
    import gradio

    from eclip_mm.page.blocks import launch

    port = int(server[0].rstrip('/').rpartition(':')[2])
    with gradio.Blocks(analytics_enabled=False) as empty:
        gradio.HTML('')
    with pytest.raises(OSError, match=f'port {port} of 127.0.0.1 cannot be used; give another'):
        launch(empty, '127.0.0.1', port, wait=False)


def test_a_phone_shows_all_without_scrolling_sideways(visitor):
    visitor.page.set_viewport_size(dict(width=390, height=844))
    for tab in ('Point', 'Audit', 'Search'):
        visitor.page.get_by_role('tab', name=tab).click()
        assert visitor.page.evaluate('document.documentElement.scrollWidth') == 390
    sides = [
        item.bounding_box() for item in visitor.page.locator('#results .thumbnail-item').all()
    ]
    assert sides and all(s['x'] >= 0 and s['x'] + s['width'] <= 390 for s in sides)
    assert all(s['width'] > 120 for s in sides)  # two side by side


def test_the_report_of_an_audit_is_a_tab_of_its_own(visitor):
    visitor.page.get_by_role('tab', name='Audit').click()
    report = visitor.page.frame_locator('#audit iframe')
    part = report.get_by_role('heading', name='Odd "pictures" & more')
    playwright.expect(part).not_to_be_in_viewport()
    report.get_by_role('link', name='Odd pictures').click()
    playwright.expect(part).to_be_in_viewport()
    report.get_by_role('button', name='sort').click()
    report.get_by_role('button', name='done').wait_for()
    assert report.get_by_alt_text('thumbnail').evaluate('image => image.naturalWidth') == 1
    visitor.page.set_viewport_size(dict(width=390, height=800))
    frame = visitor.page.locator('#audit iframe').bounding_box()
    assert frame['x'] >= 0 and 300 <= frame['width'] <= 390 - frame['x']
    visitor.page.set_viewport_size(dict(width=1280, height=900))
