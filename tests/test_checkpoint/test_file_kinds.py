"""A file that is no checkpoint is called what it is, and safetensors load everywhere."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from eclip_mm.checkpoint import read_checkpoint
from eclip_mm.checkpoint.metadata import read_meta
from eclip_mm.checkpoint.safe_loading import load_from_file, load_from_local

LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 437955512\n'


def saved(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight=np.zeros(3))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('model/config.json', '{}')
    return file.getvalue()


def script() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


KINDS = {
    'html': (b'<!DOCTYPE html>\n<html><title>Log in</title>', 'an HTML page .*Log in'),
    'html with a mark': ('\ufeff\n<html lang="en">'.encode(), 'an HTML page'),
    'a long page': (b'<html>' + 'ä€'.encode() * 2000, 'an HTML page'),
    'xml': (b'<?xml version="1.0"?><Error>AccessDenied</Error>', 'an XML text.*AccessDenied'),
    'json': (b'{"error": "Invalid credentials"}', 'a JSON text: .*credentials'),
    'index': (json.dumps(dict(metadata={}, weight_map={})).encode(), 'index of weights in sev'),
    'text': (b'Entry not found', "a text: 'Entry not found'"),
    'lfs': (LFS, 'a Git LFS pointer.*git lfs pull'),
    'zeros': (bytes(5000), 'full of zeros'),
    'empty': (b'', 'empty'),
    'gzip': (gzip.compress(saved(dict(a=torch.zeros(1)))), 'compressed with gzip'),
    'npz': (npz(), r'a zip archive of other files \(weight.npy\)'),
    'zip': (zipped(), r'a zip archive of other files \(model/config.json\)'),
    'script': (script(), 'a TorchScript program'),
    'hdf5': (b'\x89HDF\r\n\x1a\n' + bytes(90), 'an HDF5 file'),
    'parquet': (b'PAR1' + bytes(90), 'a Parquet file'),
    'list': (saved([torch.zeros(1)] * 3), 'a list of 3 items'),
    'tensor': (saved(torch.zeros(4, 2)), r'a single tensor of shape \(4, 2\)'),
    'number': (saved(3), 'a value of type int'),
}


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_no_checkpoint_says_what_it_is(kind, tmp_path):
    data, message = KINDS[kind]
    path = tmp_path / 'download.pth'
    path.write_bytes(data)
    for load in (load_from_local, read_checkpoint, read_meta):
        with pytest.raises(ValueError, match=rf'download\.pth is no checkpoint: it .*{message}'):
            load(str(path))
    with pytest.raises(ValueError, match=message):  # from a bucket
        load_from_file(io.BytesIO(data))


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match='is a folder and no checkpoint.*pretrained'):
        load_from_local(tmp_path)
    (tmp_path / 'last_checkpoint').write_text('work_dirs/a/iter_8.pth\n')
    with pytest.raises(ValueError, match='its last checkpoint is work_dirs/a/iter_8.pth$'):
        load_from_local(tmp_path)


def test_safetensors_load_everywhere(tmp_path):
    source, path = torch.nn.Linear(3, 2), str(tmp_path / 'model.safetensors')
    safetensors.torch.save_file(source.state_dict(), path, metadata=dict(format='pt'))
    with open(path, 'rb') as file:
        found = [
            load_from_local(path),
            read_checkpoint(path),
            CheckpointLoader.load_checkpoint(path, map_location='cpu'),
            load_from_file(file),
        ]
    for checkpoint in found:
        assert checkpoint['state_dict'].keys() == {'weight', 'bias'}
        assert torch.equal(checkpoint['state_dict']['weight'], source.weight)
    shapes = read_checkpoint(path, 'meta')['state_dict']
    assert shapes['weight'].is_meta and shapes['weight'].shape == (2, 3)
    assert read_meta(path) == {}
    target = torch.nn.Linear(3, 2)
    load_checkpoint(target, path)
    assert torch.equal(target.weight, source.weight)


def test_half_of_a_safetensors_file(tmp_path):
    data = safetensors.torch.save(dict(weight=torch.zeros(1000)))
    for end in (40, len(data) - 8):
        (tmp_path / 'half.safetensors').write_bytes(data[:end])
        with pytest.raises(ValueError, match=r'half\.safetensors is damaged'):
            load_from_local(tmp_path / 'half.safetensors')
