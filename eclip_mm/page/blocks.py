"""The page itself: components and what happens on which event. Needs Gradio (extra ``app``)."""

import os
from collections.abc import Callable
from functools import wraps
from html import escape
from pathlib import Path

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # read when gradio is imported

import gradio as gr  # noqa: E402

from eclip_mm.index import Query, append_judged  # noqa: E402
from eclip_mm.page.catalogue_search import CatalogueSearch, with_categories  # noqa: E402
from eclip_mm.page.photo_box import framed, parse_box, with_corner  # noqa: E402
from eclip_mm.page.photo_input import PhotoInput  # noqa: E402

MAX_FILE = 20  # megabytes of a photo
#: the model runs one search at a time; nothing is offered to programs, which have `serve`
_EVENT = dict(concurrency_limit=1, concurrency_id='model', api_visibility='private')
CSS = """
.gradio-container {max-width: 1280px !important}
:focus-visible {outline: 3px solid #e67800 !important; outline-offset: 2px}
[role=status] {min-height: 1.5em; margin: 0}
[role=status].bad {color: #b3261e; font-weight: 600}
#results .caption-label {white-space: normal; max-height: none; font-size: 13px; opacity: 1}
@media (max-width: 640px) {
  #results .grid-container {grid-template-columns: repeat(2, minmax(0, 1fr)) !important}
}
"""


def say(text: str, bad: bool = False) -> str:
    """A message, which screen readers read out."""
    return f'<p role="status" class="{"bad" if bad else ""}">{escape(text)}</p>'


def build_blocks(search: CatalogueSearch, judged: Path, num_hits: int = 12) -> gr.Blocks:
    """The page.

    Args:
        search: what it does.
        judged: file that wrong results are saved to.
        num_hits: number of results.
    """
    manifest = search.index.manifest
    with gr.Blocks(
        title='Catalogue search', analytics_enabled=False, delete_cache=(3600, 3600)
    ) as blocks:
        with gr.Tab('Search'):
            _search_tab(search, judged, num_hits)
        with gr.Tab('Point'):
            _point_tab(search)
        gr.Markdown(
            f'{len(search.index)} vectors of {manifest["per"]}s ({manifest["feature"]}) · weights '
            f'{manifest["checkpoint_sha256"][:12]} · wrong results go to `{judged}`'
        )
    return blocks


def launch(blocks: gr.Blocks, host: str, port: int, wait: bool = True) -> str:
    """Serve the page, which asks nothing of other hosts; returns its address.

    Args:
        wait: return only when the server ends.

    Raises:
        OSError: the port is taken.
    """
    fonts = ['system-ui', 'sans-serif']
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        quiet=True,
        prevent_thread_lock=True,
        theme=gr.themes.Default(font=fonts, font_mono=['monospace']),
        css=CSS,
        max_file_size=f'{MAX_FILE}mb',
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        share=False,
        pwa=False,
    )
    if wait:
        print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
        blocks.block_thread()
    return address


def _told(message: gr.HTML, handler: Callable) -> Callable:
    """A handler whose ``ValueError`` becomes the message; what else it would change stays."""

    @wraps(handler)
    def run(*args):
        try:
            return handler(*args)
        except ValueError as error:
            return {message: say(str(error), bad=True)}

    return run


def _take_photo(photo: PhotoInput, file: gr.State, box: gr.Textbox | None, message: gr.HTML):
    """Keep the bytes of an uploaded photo, and show it as our own decoder reads it."""
    emptied = {} if box is None else {box: ''}

    def take(data: bytes):
        try:
            shown = framed(data, None)
        except ValueError as error:
            return {photo: None, file: None, message: say(str(error), bad=True), **emptied}
        return {photo: shown, file: data, message: say('The photo is there.'), **emptied}

    outputs = [photo, file, message, *emptied]
    photo.upload(take, photo, outputs, **_EVENT)
    photo.clear(lambda: {file: None, **emptied}, None, [file, *emptied], **_EVENT)


def _search_tab(search: CatalogueSearch, judged: Path, num_hits: int) -> None:
    file, query, hits, chosen = gr.State(), gr.State(), gr.State([]), gr.State()
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            words = gr.Textbox(label='Words', max_lines=1, autofocus=True)
            photo = PhotoInput(label='Photo', sources=['upload'], height=260, buttons=[])
            box = gr.Textbox(
                label='Box on the photo: left top right bottom, in pixels',
                info='Click two corners on the photo, or type. Empty: the whole photo.',
                max_lines=1,
            )
            categories = gr.Dropdown(
                search.categories(), label='Categories', multiselect=True, value=[]
            )
            start = gr.Button('Search', variant='primary')
            gr.Examples([[name] for name in search.examples()], words, label='Examples')
        with gr.Column(scale=2, min_width=300):
            message = gr.HTML(say('Search by words, by a photo, or by both.'))
            gallery = gr.Gallery(
                label='Results',
                columns=4,
                height='auto',
                object_fit='contain',
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id='results',
            )
            with gr.Column(visible=False) as details:
                about = gr.HTML()
                picture = gr.Image(label='Result', interactive=False, buttons=[], height=420)
                with gr.Row():
                    why = gr.Button('Why was this found?')
                    like = gr.Button('More like this')
                with gr.Accordion('This result is wrong', open=False):
                    right = gr.Dropdown(
                        label='What is right (if you know it): a result, or a product id',
                        multiselect=True,
                        allow_custom_value=True,
                    )
                    save = gr.Button('Save as wrong')

    _take_photo(photo, file, box, message)

    def click(data, text, event: gr.SelectData):
        if data is None:
            return {}
        text = with_corner(data, text, event.index)
        done = len(text.split()) == 4
        shown = framed(data, parse_box(text)) if done else framed(data, None)
        what = 'The box is searched for.' if done else 'Now click the opposite corner.'
        return {box: text, photo: shown, message: say(what)}

    def type_box(data, text):
        if data is None and not text.strip():
            return {}
        if data is None:
            raise ValueError('A box needs a photo.')
        return {photo: framed(data, parse_box(text))}

    def show(new: Query):
        found = search.search(new, num_hits)
        pictures = [(search.picture(hit), hit.caption()) for hit in found]
        count = f'{len(found)} results. Choose one to see more.' if found else 'Nothing is found.'
        return {
            query: new,
            hits: found,
            chosen: None,
            gallery: gr.Gallery(pictures, selected_index=None),
            details: gr.Column(visible=False),
            message: say(count),
        }

    def run(text, data, corners, chosen_categories):
        new = Query(text, data, parse_box(corners))
        return show(with_categories(new, chosen_categories))

    def choose(found, event: gr.SelectData):
        hit = found[event.index]
        others = [(other.caption(), other.product_id) for other in found if other != hit]
        parts = [hit.title, hit.product_id, hit.category, f'score {hit.score:.3f}']
        return {
            chosen: hit,
            about: f'<p>{escape(" · ".join(part for part in parts if part))}</p>',
            picture: gr.Image(search.picture(hit), label='Result'),
            right: gr.Dropdown(others, value=[]),
            details: gr.Column(visible=True),
        }

    def explain(asked, hit):
        label = 'Bright: what is most like the search'
        return {picture: gr.Image(search.why(asked, hit), label=label)}

    def more(asked, hit):
        found = show(search.like(asked, hit))
        return {**found, message: say(f'Products that look like {hit.caption()}')}

    def mark(asked, found, hit, products):
        append_judged(judged, search.judged(asked, found, hit, tuple(products)))
        return {message: say(f'Saved in {judged}.'), right: gr.Dropdown(value=[])}

    results = [query, hits, chosen, gallery, details, message]
    asked = [words, file, box, categories]
    gr.on([start.click, words.submit], _told(message, run), asked, results, **_EVENT)
    photo.select(_told(message, click), [file, box], [box, photo, message], **_EVENT)
    gr.on(
        [box.submit, box.blur], _told(message, type_box), [file, box], [photo, message], **_EVENT
    )
    gallery.select(
        choose, hits, [chosen, about, picture, right, details], **_EVENT, show_progress='hidden'
    )
    why.click(_told(message, explain), [query, chosen], [picture, message], **_EVENT)
    like.click(_told(message, more), [query, chosen], results, **_EVENT)
    save.click(_told(message, mark), [query, hits, chosen, right], [message, right], **_EVENT)


def _point_tab(search: CatalogueSearch) -> None:
    file, places = gr.State(), gr.State([])
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            photo = PhotoInput(
                label='Photo to look into', sources=['upload'], height=260, buttons=[]
            )
            names = gr.Textbox(
                label='Names of products, one in a line',
                info='Names compete: type all that may be in the photo.',
                lines=3,
            )
            find = gr.Button('Find', variant='primary')
        with gr.Column(scale=2, min_width=300):
            message = gr.HTML(say('Where in a photo is a product?'))
            which = gr.Radio([], label='Show', type='index', visible=False)
            with gr.Row():
                boxes = gr.Image(label='Boxes', interactive=False, buttons=[], min_width=150)
                heat = gr.Image(label='Map', interactive=False, buttons=[], min_width=150)

    _take_photo(photo, file, None, message)

    def draw(found, number):
        shown, bright = found[number].drawn()
        return {boxes: shown, heat: bright}

    def run(data, lines):
        found = search.point(data, lines)
        captions = [place.caption() for place in found]
        return {
            places: found,
            which: gr.Radio(captions, value=captions[0], visible=True),
            message: say(captions[0]),
            **draw(found, 0),
        }

    outputs = [places, which, message, boxes, heat]
    find.click(_told(message, run), [file, names], outputs, **_EVENT)
    which.input(_told(message, draw), [places, which], [boxes, heat], **_EVENT)
