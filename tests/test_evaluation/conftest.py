"""Fixtures of the evaluation tests."""

import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def warnings():
    """Collect the messages that are logged as warnings."""

    class Recorder(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    messages, handler = [], Recorder(logging.WARNING)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
