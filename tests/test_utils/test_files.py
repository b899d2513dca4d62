"""Files that are there whole or not at all."""

import os

import pytest
from mmengine.fileio import LocalBackend

from eclip_mm.checkpoint.safe_loading import AtomicLocalBackend
from eclip_mm.utils.files import whole_file, write_whole_text


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'file.txt'
    path.write_text('old')
    return path


def test_the_old_file_is_there_until_the_new_one_is_whole(path):
    with whole_file(path) as part:
        part.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert os.listdir(path.parent) == ['file.txt']
    write_whole_text(str(path), 'größer')
    assert path.read_text(encoding='utf-8') == 'größer'


def test_a_write_that_fails_leaves_nothing(path):
    with pytest.raises(OSError, match='disk full'), whole_file(path) as part:
        part.write_text('half')
        raise OSError('disk full')
    assert path.read_text() == 'old'
    with pytest.raises(UnicodeEncodeError):  # after the file was opened
        write_whole_text(path, 'half \ud800')
    assert path.read_text() == 'old'
    assert os.listdir(path.parent) == ['file.txt']


def test_nothing_written_is_an_error_and_the_old_file_stays(path):
    with pytest.raises(FileNotFoundError, match='file.txt'), whole_file(path):
        pass
    assert path.read_text() == 'old'


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        write_whole_text(tmp_path / 'nowhere/file.txt', 'new')
    (tmp_path / 'a_file').touch()
    with pytest.raises(NotADirectoryError, match='a_file') as error:
        write_whole_text(tmp_path / 'a_file/file.txt', 'new')
    assert error.value.__context__ is None, 'the error of the write, not of cleaning up'
    assert os.listdir(tmp_path) == ['a_file']


def test_a_writer_without_a_block_commits_or_discards(path):
    target = whole_file(path)
    target.discard()  # nothing was written
    target.part.write_text('new')
    target.discard()
    assert path.read_text() == 'old' and not target.part.exists()
    target.part.write_text('new')
    target.commit()
    assert path.read_text() == 'new' and not target.part.exists()


def test_two_processes_write_to_two_places(path, monkeypatch):
    own = whole_file(path).part
    monkeypatch.setattr(os, 'getpid', lambda: -1)
    assert whole_file(path).part != own


def test_threads_of_one_process_write_one_file(path):
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text('first')
        second.write_text('second')
    assert path.read_text() == 'first' and os.listdir(path.parent) == [path.name]


def test_the_local_backend_writes_whole_files_to_new_folders(tmp_path, monkeypatch):
    """As mmengine's own, which writes in place."""
    backend = AtomicLocalBackend()
    path = tmp_path / 'new/folder/file.pth'
    backend.put(b'old', path)
    assert path.read_bytes() == b'old'
    backend.put_text('text', str(tmp_path / 'other/file.txt'))
    assert (tmp_path / 'other/file.txt').read_text() == 'text'

    put = LocalBackend.put

    def fail(self, obj, filepath):
        put(self, obj[:2], filepath)
        raise OSError('disk full')

    monkeypatch.setattr(LocalBackend, 'put', fail)
    with pytest.raises(OSError, match='disk full'):
        backend.put(b'new', path)
    assert path.read_bytes() == b'old' and os.listdir(path.parent) == ['file.pth']
