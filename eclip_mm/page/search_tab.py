"""The tab that searches. Needs Gradio (extra ``app``)."""

from html import escape
from pathlib import Path

from eclip_mm.index import Query, append_judged
from eclip_mm.page.catalogue_search import CatalogueSearch, with_categories
from eclip_mm.page.parts import EVENT, gr, photo_input, say, take_photo, told
from eclip_mm.page.photo_box import framed, parse_box, with_corner


def add_search_tab(search: CatalogueSearch, judged: Path, num_hits: int) -> None:
    """Words, photo, box and categories; results, and what can be done with one.

    Args:
        search: what it does.
        judged: file that wrong results are saved to.
        num_hits: number of results.
    """
    file, query, hits, chosen = gr.State(), gr.State(), gr.State([]), gr.State()
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            words = gr.Textbox(label='Words', max_lines=1, autofocus=True)
            photo = photo_input('Photo')
            box = gr.Textbox(
                label='Box on the photo: left top right bottom, in pixels',
                info='Click two corners on the photo, or type. Empty: the whole photo.',
                max_lines=1,
            )
            known = search.categories()
            categories = gr.Dropdown(
                known, label='Categories', multiselect=True, value=[], visible=bool(known)
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
                about = gr.HTML(elem_id='about')
                picture = gr.Image(
                    label='Result', interactive=False, buttons=[], height=420, elem_id='chosen'
                )
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

    take_photo(photo, file, box, message)

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
            picture: gr.Image(search.picture(hit), label='Result', alt_text=hit.caption()),
            right: gr.Dropdown(others, value=[]),
            details: gr.Column(visible=True),
        }

    def explain(asked, hit):
        label = 'Bright: what is most like the search'
        return {picture: gr.Image(search.why(asked, hit), label=label, alt_text=label)}

    def more(asked, hit):
        found = show(search.like(asked, hit))
        return {**found, message: say(f'Products that look like {hit.caption()}')}

    def mark(asked, found, hit, products):
        append_judged(judged, search.judged(asked, found, hit, tuple(products)))
        return {message: say(f'Saved in {judged}.'), right: gr.Dropdown(value=[])}

    results = [query, hits, chosen, gallery, details, message]
    asked = [words, file, box, categories]
    gr.on(
        [start.click, words.submit],
        told(message, run),
        asked,
        results,
        scroll_to_output=True,
        **EVENT,
    )
    photo.select(told(message, click), [file, box], [box, photo, message], **EVENT)
    gr.on([box.submit, box.blur], told(message, type_box), [file, box], [photo, message], **EVENT)
    gallery.select(
        choose, hits, [chosen, about, picture, right, details], **EVENT, show_progress='hidden'
    )
    why.click(told(message, explain), [query, chosen], [picture, message], **EVENT)
    like.click(told(message, more), [query, chosen], results, **EVENT)
    save.click(told(message, mark), [query, hits, chosen, right], [message, right], **EVENT)
