"""The calculation of docs/scaling.md against numbers worked out by hand."""

import pytest
import torch
from scaling import (
    Assumptions,
    CountedModel,
    count_model,
    gathered_bytes,
    operations,
    run_hours,
    send_seconds,
    step_seconds,
    weight_bytes,
    whole_step,
)
from torch.utils.flop_counter import FlopCounterMode

from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers import towers

# 1 GFLOP forward, a million parameters of each model, D = 100
MODEL = CountedModel(flops=1e9, params=1_000_000, teacher_params=1_000_000, embed_dims=100)
GIVEN = Assumptions(
    products=10_000,
    epochs=8,
    global_batch=1000,
    text_bytes=0,
    picture_kbytes=10,
    pictures_read=4,
    pictures_per_core=100,
    cores=10,
    read_gbytes=0.1,
    peak_tflops=1,
    use=0.5,
    nvlink_gbytes=10,
    network_gbytes=1,
    network_share=0.5,
)


def test_a_step_by_hand():
    # 4 passes of 1e9, and 4 comparisons with 1,000 x 100 numbers, 6 operations each
    assert operations(MODEL, GIVEN) == 4e9 + 2.4e6
    seconds = step_seconds(MODEL, 16, GIVEN)
    assert seconds['compute'] == pytest.approx(1000 * 4.0024e9 / (16 * 0.5e12))
    # 500 products a machine: 4 pictures of 10 kB each at 0.1 GB/s; 2 each by 10 cores
    assert seconds['reading'] == pytest.approx(500 * 40e3 / 1e8)
    assert seconds['decoding'] == pytest.approx(500 * 2 / 1000)
    # 8 MB: 7/8 of them at 5 GB/s within; a half at 8 x 0.5 GB/s between two machines
    assert weight_bytes(MODEL, sharded=False) == 8_000_000
    assert seconds['weights'] == pytest.approx(max(7e6 / 5e9, 4e6 / 4e9))
    # 9 times 1,000 x 100 floats, and the ids
    assert gathered_bytes(1000, 100) == 9 * 400_000 + 8000
    assert gathered_bytes(1000, 100, teacher=False) == 6 * 400_000 + 8000
    step = whole_step(seconds)
    assert step == pytest.approx(1.0 + seconds['gathers'])  # decoding is the limit
    assert run_hours(step, GIVEN) == pytest.approx(step * 10 * 8 / 3600)


def test_options_cost_what_they_should():
    recomputing = Assumptions(global_batch=1000, recompute=True)
    assert operations(MODEL, recomputing) - operations(MODEL, GIVEN) == 1e9
    assert weight_bytes(MODEL, sharded=True) == 16_000_000
    assert send_seconds(1e6, 1, GIVEN) == 0  # nobody to send to


def test_operations_are_those_of_a_real_forward(tmp_path):
    """Counted on the meta device, and while real tensors are computed on."""
    config = tmp_path / 'config.py'
    config.write_text(f'model = {tiny_model_config()!r}\n')
    counted = count_model(str(config), num_tokens=7)
    model = MODELS.build(tiny_model_config())  # eval() would fuse attention, which is not counted
    batch = fake_batch(1, num_images=1)
    inputs = model.data_preprocessor(batch)['inputs']
    ids = torch.ones(1, 7, dtype=torch.int64)
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            model.network.encode_text(ids, ids)
            _, tokens, _ = model.network.encode_image(inputs['images'][:, 0])
            model.network.decode(tokens, torch.zeros(1, 4, 32), torch.zeros(1, 4).long())
    assert counted.flops == counter.get_total_flops() > 0
    assert counted.params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert counted.teacher_params == sum(p.numel() for p in model.network.parameters())


def test_the_tool_prints_a_table(program, repo_root):
    config = repo_root / 'configs/demo/eclip_tiny_synthetic.py'
    text, _ = program('analysis_tools/scaling_calculation.py', config, '--gpus', 8, 16)
    assert '| products per GPU | 800 | 400 |' in text
    assert '| features into a machine, MB per step | 0 | ' in text


def test_a_dual_encoder_is_counted_without_its_weights(tmp_path):
    towers.build('clip', towers.DUAL['clip']).save_pretrained(tmp_path)
    (tmp_path / 'model.safetensors').unlink()
    cfg = tiny_model_config(embed_dims=24, pretrained_dual=str(tmp_path))
    cfg['image_encoder'] = dict(type='TransformersImageEncoder')
    cfg['text_encoder'] = dict(type='TransformersTextEncoder')
    config = tmp_path / 'config.py'
    config.write_text(f'model = {cfg!r}')
    counted = count_model(str(config), num_tokens=7)
    cfg['pretrained_dual'] = dict(model_type='clip', config=towers.DUAL['clip'])
    config.write_text(f'model = {cfg!r}')
    assert counted == count_model(str(config), num_tokens=7)
    params = [p for p in MODELS.build(cfg).parameters() if p.requires_grad]
    assert counted.params == sum(p.numel() for p in params)
