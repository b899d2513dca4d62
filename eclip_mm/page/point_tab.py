"""The tab that points at named products in a photo. Needs Gradio (extra ``app``)."""

from eclip_mm.page.catalogue_search import CatalogueSearch
from eclip_mm.page.parts import EVENT, gr, photo_input, say, take_photo, told


def add_point_tab(search: CatalogueSearch) -> None:
    """A photo and names; boxes and map of each name."""
    file, places = gr.State(), gr.State([])
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            photo = photo_input('Photo to look into')
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
                boxes, heat = (
                    gr.Image(
                        label=name,
                        interactive=False,
                        buttons=[],
                        min_width=150,
                        elem_id=name.lower(),
                    )
                    for name in ('Boxes', 'Map')
                )

    take_photo(photo, file, None, message)

    def draw(found, number):
        shown, bright = found[number].drawn()
        return {boxes: shown, heat: bright, message: say(found[number].caption())}

    def run(data, lines):
        found = search.point(data, lines)
        captions = [place.caption() for place in found]
        return {
            places: found,
            which: gr.Radio(captions, value=captions[0], visible=True),
            **draw(found, 0),
        }

    outputs = [places, which, message, boxes, heat]
    find.click(told(message, run), [file, names], outputs, **EVENT)
    which.input(told(message, draw), [places, which], [boxes, heat, message], **EVENT)
