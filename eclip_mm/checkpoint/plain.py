"""Converting checkpoint contents to tensors and plain Python values, and back."""

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def to_plain(value):
    """Convert histories, numpy arrays and numpy scalars in nested data to plain values."""
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return dict(
            __history__=True,
            log=torch.as_tensor(np.array(log, dtype=np.float64)),
            count=torch.as_tensor(np.array(count, dtype=np.int64)),
            max_length=value.max_length,
        )
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def from_plain(value):
    """Restore the histories that :func:`to_plain` has converted."""
    if isinstance(value, dict):
        if value.get('__history__'):
            return HistoryBuffer(
                value['log'].tolist(), value['count'].tolist(), value['max_length']
            )
        return {key: from_plain(item) for key, item in value.items()}
    return value
