"""What runs the tasks of ``Eclip``: weights in torch, ONNX graphs, or a detector of mmdet."""

from pathlib import Path

import torch

from eclip_mm.apis.detecting import DetectorTasks, holds_detector, load_detector
from eclip_mm.apis.model_sources import LoadedModel, load_source
from eclip_mm.apis.onnx_model import load_onnx
from eclip_mm.apis.tasks import ModelTasks

BACKENDS = ('torch', 'onnx')


def choose_device(device: str | torch.device | None, backend: str) -> torch.device:
    """The device that is asked for; else a GPU if there is one, and the CPU for graphs."""
    on_gpu = backend == 'torch' and torch.cuda.is_available()
    return torch.device(device or ('cuda' if on_gpu else 'cpu'))


def load_tasks(
    source: str | Path, device: torch.device, backend: str
) -> tuple[ModelTasks | DetectorTasks, LoadedModel]:
    """Load a folder or a checkpoint, and what it can do.

    Raises:
        ValueError: the backend is unknown, or a detector is to run as graphs.
    """
    if backend not in BACKENDS:
        raise ValueError(f'backend is {" or ".join(BACKENDS)}, got {backend!r}')
    if holds_detector(source):
        if backend != 'torch':
            raise ValueError(f'{source} is a detector, which has the backend torch alone')
        return load_detector(source, device)
    if backend == 'onnx':
        loaded = load_onnx(source, device)
    else:
        loaded = load_source(source)
        loaded.model.to(device)
    return ModelTasks(loaded.model, loaded.tokenize), loaded
