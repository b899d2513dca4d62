"""Weights of towers with low-rank adapters (LoRA), and of the same towers without them.

An adapted Linear has ``X.base_layer.weight`` with ``X.lora_A.default.weight`` (r, in) and
``X.lora_B.default.weight`` (out, r), the names of ``peft``. Beside them an encoder has
``lora_scaling``, alpha / r, so that the weights alone say what they compute:
``base + lora_scaling * B @ A``. This needs no ``peft``.
"""

from torch import Tensor, nn

from eclip_mm.checkpoint.names import canonical_name

SCALING = 'lora_scaling'
BASE = '.base_layer.'
DOWN, UP = '.lora_A.default.weight', '.lora_B.default.weight'


def merge_lora(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain weights of a model whose towers have adapters.

    Args:
        state_dict: of any model with encoders in it; it stays as it is.

    Returns:
        A state dict with the names of the model without adapters, in the same
        order. Weights without adapters are the given tensors.
    """
    merged = dict(state_dict)
    for key in state_dict:
        if key.rpartition('.')[2] == SCALING:
            _merge(merged, key.removesuffix(SCALING))
    return merged


def fit_adapters(state_dict: dict[str, Tensor], encoder: nn.Module, prefix: str) -> None:
    """Fit the weights of an encoder to its adapters, in place.

    Adapters that the encoder does not have are merged into the weights. Where the weights lack
    adapters, the encoder keeps its own.

    Args:
        state_dict: weights, those of the encoder behind ``prefix``, with the names
            of any version of ``transformers``.
        encoder: has ``model``, and ``lora_scaling`` (None without adapters).
        prefix: of the encoder's names in ``state_dict``.

    Raises:
        ValueError: both have adapters, but of another rank or scaling.
    """
    tower = f'{prefix}model.'
    scaling = encoder.lora_scaling
    if scaling is None:
        if prefix + SCALING in state_dict:
            _merge(state_dict, prefix)
        return
    if not any(name.startswith(tower) for name in state_dict):
        return
    own = encoder.model.state_dict(keep_vars=True)
    layers = {_canonical(name[: -len(DOWN)]): name[: -len(DOWN)] for name in own if DOWN in name}
    if prefix + SCALING in state_dict:
        saved = [name for name in state_dict if name.startswith(tower) and name.endswith(DOWN)]
        places = {name: _canonical(name[len(tower) : -len(DOWN)]) for name in saved}
        both = {name: own[layers[p] + DOWN] for name, p in places.items() if p in layers}
        _check(state_dict, both, prefix, scaling)
        _merge(state_dict, prefix, [name for name, place in places.items() if place not in layers])
    for name in [name for name in state_dict if name.startswith(tower)]:
        layer, _, kind = name[len(tower) :].rpartition('.')
        if _canonical(layer) in layers:  # an unadapted Linear
            state_dict[f'{tower}{layer}{BASE}{kind}'] = state_dict.pop(name)
    kept = {_canonical(n[len(tower) : -len(DOWN)]) for n in state_dict if n.endswith(DOWN)}
    for place, layer in layers.items():
        if place not in kept:
            for part in (DOWN, UP):
                state_dict[tower + layer + part] = own[layer + part]
    state_dict[prefix + SCALING] = scaling


def _canonical(layer: str) -> str:
    return canonical_name(f'{layer}.weight').removesuffix('.weight')


def _check(
    state_dict: dict[str, Tensor], own: dict[str, Tensor], prefix: str, scaling: Tensor
) -> None:
    """Compare adapters of a file with those in the same places of an encoder.

    Raises:
        ValueError: they differ in rank or scaling.
    """
    theirs, mine = float(state_dict[prefix + SCALING]), float(scaling)
    for name, weight in own.items():
        ranks = len(state_dict[name]), len(weight)
        if ranks[0] != ranks[1] or abs(theirs - mine) > 1e-6 * mine:
            raise ValueError(
                f'{prefix[:-1]}: the checkpoint has adapters of r={ranks[0]}, '
                f'alpha={ranks[0] * theirs:g}, but lora in the config says r={ranks[1]}, '
                f'alpha={ranks[1] * mine:g}: set those of the checkpoint, or merge its adapters '
                'with tools/export_lora.py --merge'
            )


def _merge(state_dict: dict[str, Tensor], prefix: str, names: list[str] | None = None) -> None:
    """Merge adapters behind ``prefix``, all of them or those named by their ``lora_A``."""
    scaling = float(state_dict[prefix + SCALING])
    if names is None:
        names = [n for n in state_dict if n.startswith(prefix) and n.endswith(DOWN)]
        del state_dict[prefix + SCALING]
    renamed = {}
    for name in names:
        layer = name.removesuffix(DOWN)
        down, up = state_dict.pop(name), state_dict.pop(layer + UP)
        weight = state_dict[f'{layer}{BASE}weight']
        merged = weight.float() + scaling * (up.float() @ down.float())
        state_dict[f'{layer}{BASE}weight'] = merged.to(weight.dtype)
        renamed.update({f'{layer}{BASE}{part}': f'{layer}.{part}' for part in ('weight', 'bias')})
    entries = [(renamed.get(name, name), value) for name, value in state_dict.items()]
    state_dict.clear()  # in place, in the same order
    state_dict.update(entries)
