"""Self-attention of a vision transformer inside windows, for large pictures."""

from collections.abc import Sequence

from torch import Tensor, nn


class WindowMixin:
    """Limits an attention of ``transformers`` to square windows of the patch grid.

    Class and register tokens take part in every window; their outputs are the
    means over the windows. The weights and their names do not change.
    """

    #: (h, w) of the patch grid of the next pictures; multiples of the window
    grid: tuple[int, int]
    window_size: int

    def forward(self, hidden_states: Tensor, *args, **kwargs):
        """
        Args:
            hidden_states: (B, P + h * w, C), P class and register tokens first.

        Returns:
            What the attention returns; its first item is (B, P + h * w, C).
        """
        (height, width), size = self.grid, self.window_size
        batch, num_tokens, dims = hidden_states.shape
        num_prefix = num_tokens - height * width
        rows, columns = height // size, width // size
        prefix, patches = hidden_states.split([num_prefix, height * width], dim=1)
        windows = patches.reshape(batch, rows, size, columns, size, dims).transpose(2, 3)
        windows = windows.reshape(batch, rows * columns, size * size, dims)
        prefix = prefix.unsqueeze(1).expand(-1, rows * columns, -1, -1)
        tokens = windows.new_empty(batch, rows * columns, num_prefix + size * size, dims)
        tokens[:, :, :num_prefix], tokens[:, :, num_prefix:] = prefix, windows

        outputs = super().forward(tokens.flatten(0, 1), *args, **kwargs)
        attended = outputs[0] if isinstance(outputs, tuple) else outputs
        attended = attended.unflatten(0, (batch, rows * columns))
        patches = attended[:, :, num_prefix:].reshape(batch, rows, columns, size, size, dims)
        result = hidden_states.new_empty(batch, num_tokens, dims, dtype=attended.dtype)
        result[:, :num_prefix] = attended[:, :, :num_prefix].mean(dim=1)
        result[:, num_prefix:] = patches.transpose(2, 3).reshape(batch, height * width, dims)
        return (result, *outputs[1:]) if isinstance(outputs, tuple) else result


def find_layers(model: nn.Module) -> nn.ModuleList:
    """The transformer layers of a ``transformers`` vision model.

    Raises:
        ValueError: it has no list of layers with an ``attention`` each (ConvNeXt, Swin).
    """
    depth = getattr(model.config, 'num_hidden_layers', None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            if all(isinstance(getattr(layer, 'attention', None), nn.Module) for layer in module):
                return module
    raise ValueError(
        f'{type(model).__name__} has no list of layers with an `attention` each: leave '
        'window_size=None and out_layers=()'
    )


def check_layers(model: nn.Module, indices: Sequence[int], name: str) -> list[int]:
    """Indices of layers, checked.

    Args:
        model: vision model of ``transformers``; any model if there are no indices.
        indices: of its layers.
        name: of the option, for the error.

    Raises:
        ValueError: the layers of the model cannot be found, or it has no layer
            with such an index.
    """
    count = len(find_layers(model)) if indices else 0
    wrong = [index for index in indices if not 0 <= index < count]
    if wrong:
        raise ValueError(f'{name} {wrong} are not among the {count} layers')
    return list(indices)


def use_windows(model: nn.Module, window_size: int, global_layers: list[int]) -> None:
    """Limit the attention of all layers except some to windows.

    The ``grid`` of every :class:`WindowMixin` in the model has to be set before
    each forward pass.

    Args:
        model: vision model of ``transformers``.
        window_size: side of a window, in patches.
        global_layers: indices of the layers that still attend to the whole
            picture.

    Raises:
        ValueError: the layers of the model cannot be found, or it has no layer
            with such an index.
    """
    layers = find_layers(model)
    check_layers(model, global_layers, 'global_layers')
    for index, layer in enumerate(layers):
        if index not in global_layers:
            kind = type(layer.attention)
            # another class, not another module, so that names, weights and copies stay valid
            layer.attention.__class__ = type(f'Windowed{kind.__name__}', (WindowMixin, kind), {})
            layer.attention.window_size = window_size
