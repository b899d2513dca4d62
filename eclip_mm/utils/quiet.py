"""Silence of libraries where their words would alarm about nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import transformers


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without transformers' table of weights and its progress bar; the caller reads the report."""
    log = transformers.utils.logging
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()
