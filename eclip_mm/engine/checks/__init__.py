"""Settings that contradict each other or the data, found before the first step."""

from eclip_mm.engine.checks.hook import RunCheckHook

__all__ = ['RunCheckHook']
