"""Freed memory is kept where the C library can do so, and elsewhere nothing happens."""

import ctypes
from types import SimpleNamespace

import pytest

from eclip_mm.cli import commands
from eclip_mm.utils.command import run_command
from eclip_mm.utils.memory import reuse_freed_memory


@pytest.mark.parametrize(('taken', 'wanted'), [(1, True), (0, False)])
def test_both_thresholds_are_set(monkeypatch, taken, wanted):
    calls = {}

    def mallopt(option, value):
        calls[option] = value
        return taken

    monkeypatch.setattr(ctypes, 'CDLL', lambda name: SimpleNamespace(mallopt=mallopt))
    assert reuse_freed_memory() is wanted
    assert calls == ({-3: 2**30, -1: 2**31 - 1} if taken else {-3: 2**30})


def test_another_c_library_has_no_such_option(monkeypatch):
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: SimpleNamespace())
    assert reuse_freed_memory() is False


def test_every_program_keeps_it(monkeypatch):
    """Those of tools/ and the parts of eclip-mm."""
    kept = []
    monkeypatch.setattr('eclip_mm.utils.command.reuse_freed_memory', lambda: kept.append('tools'))
    monkeypatch.setattr('eclip_mm.cli.commands.reuse_freed_memory', lambda: kept.append('part'))
    run_command(lambda: kept.append('program'))
    assert kept == ['tools', 'program']
    with pytest.raises(SystemExit):
        commands.main(['encode', '--help'])
    assert kept[2:] == ['part']
