"""DINOv2 out of an ONNX file: written here as torch's exporter writes it."""

import pytest
import torch

from eclip_mm.checkpoint.towers.dinov2_onnx import read_dinov2, read_graph

WIDTH, LAYERS = 8, 2
LINEARS = (
    ('attention.attention.query', WIDTH, WIDTH),
    ('attention.attention.key', WIDTH, WIDTH),
    ('attention.attention.value', WIDTH, WIDTH),
    ('attention.output.dense', WIDTH, WIDTH),
    ('mlp.fc1', 4 * WIDTH, WIDTH),
    ('mlp.fc2', WIDTH, 4 * WIDTH),
)


def varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor_proto(name, tensor, packed=False):
    dims = [field(1, side) for side in tensor.shape]
    if packed:
        dims = [field(1, b''.join(map(varint, tensor.shape)))]
    raw = tensor.contiguous().numpy().tobytes()
    return b''.join(dims) + field(2, 1) + field(8, name.encode()) + field(9, raw)


def node_proto(kind, name, *inputs):
    data = b''.join(field(1, key.encode()) for key in inputs)
    return data + field(2, b'out') + field(3, name.encode()) + field(4, kind.encode())


def model_proto(tensors, nodes):
    graph = b''.join(field(1, node) for node in nodes)
    graph += field(2, b'main_graph') + b''.join(field(5, tensor) for tensor in tensors)
    return field(1, 7) + field(2, b'pytorch') + field(7, graph)


@pytest.fixture
def state():
    """Weights of a small Dinov2Model under the published names."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    state = {
        'embeddings.cls_token': draw(1, 1, WIDTH),
        'embeddings.mask_token': torch.zeros(1, WIDTH),
        'embeddings.position_embeddings': draw(1, 1 + 16, WIDTH),
        'embeddings.patch_embeddings.projection.weight': draw(WIDTH, 3, 14, 14),
        'embeddings.patch_embeddings.projection.bias': draw(WIDTH),
    }
    for layer in range(LAYERS):
        name = f'encoder.layer.{layer}'
        for linear, out, into in LINEARS:
            state[f'{name}.{linear}.weight'] = draw(out, into)
            state[f'{name}.{linear}.bias'] = draw(out)
        for number in (1, 2):
            state[f'{name}.norm{number}.weight'] = draw(WIDTH)
            state[f'{name}.norm{number}.bias'] = draw(WIDTH)
            state[f'{name}.layer_scale{number}.lambda1'] = draw(WIDTH)
    state['layernorm.weight'], state['layernorm.bias'] = draw(WIDTH), draw(WIDTH)
    return state


@pytest.fixture
def file(state):
    """An ONNX file of them: matrices are transposed and nameless, places are in two parts."""
    tensors, nodes, count = [], [], 100
    for name, tensor in state.items():
        module, _, leaf = name.rpartition('.')
        if name == 'embeddings.mask_token':
            continue
        if leaf == 'weight' and tensor.ndim == 2:
            key, path = f'onnx::MatMul_{count}', module.replace('.', '/')
            tensors.append(tensor_proto(key, tensor.T, packed=count % 2 == 0))
            nodes.append(node_proto('MatMul', f'/backbone/{path}/MatMul', 'x', key))
            count += 1
        elif name == 'embeddings.position_embeddings':
            for key, part in (('Reshape', tensor[:, 1:]), ('Concat', tensor[:, :1])):
                tensors.append(tensor_proto(f'onnx::{key}_7', part))
                nodes.append(node_proto(key, f'/backbone/embeddings/{key}_1', f'onnx::{key}_7'))
        else:
            tensors.append(tensor_proto(f'backbone.{name}', tensor))
    tensors.append(tensor_proto('decoder.final_conv.bias', torch.ones(1)))
    tensors.append(tensor_proto('onnx::MatMul_9', torch.ones(2, 2)))
    nodes.append(node_proto('MatMul', '/decoder/MatMul', 'x', 'onnx::MatMul_9'))
    return model_proto(tensors, nodes)


def test_weights_get_their_names_back(state, file):
    found = read_dinov2(file)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)


def test_transformers_takes_them(state, file, tmp_path):
    from safetensors.torch import save_file
    from transformers import AutoModel, Dinov2Config

    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2, image_size=56
    )
    config.save_pretrained(tmp_path)
    weights = {name: tensor.contiguous() for name, tensor in read_dinov2(file).items()}
    save_file(weights, tmp_path / 'model.safetensors', metadata=dict(format='pt'))
    model, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    outputs = model.eval()(pixel_values=torch.ones(1, 3, 56, 56))
    assert outputs.last_hidden_state.shape == (1, 17, WIDTH)


def test_tensors_of_other_types_are_left_out():
    number = field(1, 2) + field(2, 7) + field(8, b'steps') + field(9, bytes(16))
    tensors, nodes = read_graph(memoryview(model_proto([number], [])))
    assert (tensors, nodes) == ({}, [])
