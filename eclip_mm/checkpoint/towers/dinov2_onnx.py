"""DINOv2 weights out of an ONNX file that torch exported, read without the package ``onnx``."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

CONFIG = dict(
    architectures=['Dinov2Model'],
    model_type='dinov2',
    hidden_size=384,
    num_hidden_layers=12,
    num_attention_heads=6,
    mlp_ratio=4,
    patch_size=14,
    image_size=518,
    layer_norm_eps=1e-6,
)
#: the saliency model was trained at 224 px, with the position embeddings of 518 px interpolated
PROCESSOR = dict(
    image_processor_type='BitImageProcessor',
    do_resize=True,
    size=dict(height=224, width=224),
    resample=3,  # bicubic
    do_center_crop=False,
    do_rescale=True,
    rescale_factor=1 / 255,
    do_normalize=True,
    image_mean=[0.485, 0.456, 0.406],
    image_std=[0.229, 0.224, 0.225],
    do_convert_rgb=True,
)

# numbers of fields in onnx.proto
_GRAPH, _NODE, _INITIALIZER = 7, 1, 5
_NODE_INPUT, _NODE_NAME, _NODE_OP = 1, 3, 4
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_FLOAT = 1


def read_dinov2(data: bytes, prefix: str = 'backbone.') -> dict[str, Tensor]:
    """Weights of ``Dinov2Model``, under the names of the published files.

    torch's exporter keeps the names of parameters, except where it transposed or split them. The
    name of such a parameter follows from the node that uses it.

    Args:
        data: the ONNX file.
        prefix: of the names that are wanted; other parameters are left out.
    """
    tensors, nodes = read_graph(memoryview(data))
    state = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    parts = []
    for kind, name, inputs in nodes:
        module = name.strip('/').rpartition('/')[0].replace('/', '.') + '.'
        if not module.startswith(prefix):
            continue
        module = module.removeprefix(prefix)
        for key in inputs:
            if key.startswith('onnx::') and key in tensors:
                if kind == 'MatMul':
                    state[f'{module}weight'] = tensors[key].T
                elif module == 'embeddings.':  # of the class token and of the patches
                    parts.append(tensors[key])
    parts.sort(key=lambda part: part.shape[1])
    state['embeddings.position_embeddings'] = torch.cat(parts, dim=1)
    state['embeddings.mask_token'] = torch.zeros(1, state['embeddings.cls_token'].shape[-1])
    return state


def read_graph(
    data: memoryview,
) -> tuple[dict[str, Tensor], list[tuple[str, str, list[str]]]]:
    """Float tensors by name, and (operator, name, inputs) of each node of an ONNX file."""
    tensors, nodes = {}, []
    graph = next(value for number, value in _fields(data) if number == _GRAPH)
    for number, value in _fields(graph):
        if number == _INITIALIZER:
            name, tensor = _read_tensor(value)
            if tensor is not None:
                tensors[name] = tensor
        elif number == _NODE:
            fields = list(_fields(value))
            texts = {n: bytes(v).decode() for n, v in fields if n in (_NODE_NAME, _NODE_OP)}
            inputs = [bytes(v).decode() for n, v in fields if n == _NODE_INPUT]
            nodes.append((texts.get(_NODE_OP, ''), texts.get(_NODE_NAME, ''), inputs))
    return tensors, nodes


def _read_tensor(data: memoryview) -> tuple[str, Tensor | None]:
    """Name and values of a TensorProto; None for values that are not raw float32."""
    dims, kind, name, raw = [], None, '', None
    for number, value in _fields(data):
        if number == _TENSOR_DIMS:
            # a list of numbers may stand as one field each, or packed into one
            dims += [value] if isinstance(value, int) else _numbers(value)
        elif number == _TENSOR_TYPE:
            kind = value
        elif number == _TENSOR_NAME:
            name = bytes(value).decode()
        elif number == _TENSOR_RAW:
            raw = value
    if kind != _FLOAT or raw is None:
        return name, None
    values = np.frombuffer(raw, dtype='<f4', count=math.prod(dims))
    return name, torch.from_numpy(values.reshape(dims).copy())


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of the fields of a protobuf message, which is not checked further."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
        else:
            length = {1: 8, 5: 4}.get(wire)
            if length is None:
                length, place = _varint(data, place)
            value = data[place : place + length]
            place += length
        yield number, value


def _numbers(data: memoryview) -> list[int]:
    place, found = 0, []
    while place < len(data):
        value, place = _varint(data, place)
        found.append(value)
    return found


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
