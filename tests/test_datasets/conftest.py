import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def log(tmp_path):
    """Reads what was logged, by workers as well."""
    logger = MMLogger.get_current_instance()
    handler = logging.FileHandler(tmp_path / 'log.txt')
    logger.addHandler(handler)
    yield (tmp_path / 'log.txt').read_text
    logger.removeHandler(handler)
    handler.close()
