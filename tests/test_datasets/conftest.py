import logging

import fsspec
import pytest
from mmengine.logging import MMLogger

from eclip_mm.datasets.storage import stored_files
from helpers.catalogues import RemoteFileSystem


@pytest.fixture
def remote(monkeypatch):
    """``remote://`` names local files as if they were remote; waiting for it is quick."""
    fsspec.register_implementation('remote', RemoteFileSystem, clobber=True)
    monkeypatch.setattr(stored_files, 'FIRST_WAIT', 0.001)
    for name, value in dict(failures=0, failed=0, fetched=[], opened=[]).items():
        monkeypatch.setattr(RemoteFileSystem, name, value)
    return RemoteFileSystem


@pytest.fixture
def log(tmp_path):
    """Reads what was logged, by workers as well."""
    logger = MMLogger.get_current_instance()
    handler = logging.FileHandler(tmp_path / 'log.txt')
    logger.addHandler(handler)
    yield (tmp_path / 'log.txt').read_text
    logger.removeHandler(handler)
    handler.close()
