"""Two gloo processes give the figures of one, whatever the split and the padding."""

import socket

import torch
import torch.multiprocessing as mp

from .helpers import LEFT, METRIC_CONFIGS, RIGHT, build_evaluator, grounding_sample

CONFIGS = [dict(config, split='photos', num_bootstrap=20, prefix='x') for config in METRIC_CONFIGS]
NUM_SAMPLES = 9  # odd: the sampler repeats the first sample at the end


def make_samples():
    generator = torch.Generator().manual_seed(0)
    # Splits lie so that the two ranks hold different numbers of each.
    return [
        grounding_sample(
            torch.rand(2, 2, generator=generator).tolist(),
            [LEFT],
            [LEFT, RIGHT],
            f'p{i % 3}',
            image=41 * i % 360,
            text=120 * (i % 3),
            category='xy'[i % 2],
            split='photos' if i in (0, 2, 3, 4, 6, 8) else 'other',
        )
        for i in range(NUM_SAMPLES)
    ]


def evaluate(rank, world_size):
    samples, evaluator = make_samples(), build_evaluator(CONFIGS)
    rounds = -(-NUM_SAMPLES // world_size)
    for index in range(rank, rounds * world_size, world_size):  # DefaultSampler's order
        evaluator.process([samples[index % NUM_SAMPLES]])
    return evaluator.evaluate(NUM_SAMPLES)


def worker(rank, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2
    )
    torch.save(evaluate(rank, 2), f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_ranks_equal_one(tmp_path, monkeypatch):
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    monkeypatch.chdir(tmp_path)  # mmengine gathers through a folder here
    mp.spawn(worker, (port, str(tmp_path)), nprocs=2)
    alone = evaluate(0, 1)
    assert alone['x/i2t_num_images'] == 6
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pt') == alone
