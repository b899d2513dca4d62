"""The component that takes photos; importing it needs Gradio (extra ``app``)."""

from pathlib import Path

import gradio as gr

from gradio.events import Dependency

class PhotoInput(gr.Image):
    """Takes any file, whose bytes a handler gets, so that our own decoder reads it.

    ``gr.Image`` decodes what is uploaded before any handler runs, and shows a person the error
    of its decoder.
    """

    is_template = True  # the browser has it as gr.Image

    def preprocess(self, payload) -> bytes | None:
        """The bytes of the file; None if there is none."""
        return None if payload is None or payload.path is None else Path(payload.path).read_bytes()
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component