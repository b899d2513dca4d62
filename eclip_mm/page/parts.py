"""What the tabs of the page share. Needs Gradio (extra ``app``)."""

import os
from collections.abc import Callable
from functools import wraps
from html import escape
from pathlib import Path

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # read when gradio is imported

import gradio as gr  # noqa: E402

from eclip_mm.page.photo_box import framed  # noqa: E402

#: the model runs one search at a time; nothing is offered to programs
EVENT = dict(concurrency_limit=1, concurrency_id='model', api_visibility='private')


def say(text: str, bad: bool = False) -> str:
    """A message, which screen readers read out."""
    return f'<p role="status" class="{"bad" if bad else ""}">{escape(text)}</p>'


def told(message: gr.HTML, handler: Callable) -> Callable:
    """A handler whose errors become the message; what else it would change stays."""

    @wraps(handler)
    def run(*args):
        try:
            return handler(*args)
        except (ValueError, OSError) as error:  # OSError: the disk is full
            return {message: say(str(error), bad=True)}

    return run


def photo_input(label: str) -> gr.Image:
    """Takes any file, whose bytes a handler gets, so that our own decoder reads it.

    Otherwise ``gr.Image`` would decode it before any handler runs, and show a person the error of
    its decoder. A subclass would do the same, but Gradio writes a stub beside its module.
    """

    def read(payload) -> bytes | None:
        return None if payload is None or payload.path is None else Path(payload.path).read_bytes()

    photo = gr.Image(label=label, sources=['upload'], height=260, buttons=[])
    photo.preprocess = read
    return photo


def take_photo(photo: gr.Image, file: gr.State, box: gr.Textbox | None, message: gr.HTML):
    """Keep the bytes of an uploaded photo, and show it as our own decoder reads it."""
    emptied = {} if box is None else {box: ''}

    def take(data: bytes):
        try:
            shown = framed(data, None)
        except ValueError as error:
            return {photo: None, file: None, message: say(str(error), bad=True), **emptied}
        return {photo: shown, file: data, message: say('The photo is there.'), **emptied}

    outputs = [photo, file, message, *emptied]
    photo.upload(take, photo, outputs, **EVENT)
    photo.clear(lambda: {file: None, **emptied}, None, [file, *emptied], **EVENT)
