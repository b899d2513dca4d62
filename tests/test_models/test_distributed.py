"""Several gloo processes with a share of the batch each are one process with the whole batch."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from eclip_mm.registry import MODELS
from eclip_mm.testing import end_rank, fake_batch, tiny_model_config

BATCH = 8


def _build(chunk_size=None):
    """With a chunk size, the contrastive losses are in tiles of one row, too."""
    cfg = tiny_model_config(chunk_size=chunk_size)
    if chunk_size:
        for task in ('itc', 'inter', 'itm'):
            cfg['pretext_heads'][task]['max_elements'] = BATCH
    torch.manual_seed(0)
    model = MODELS.build(cfg).double()
    with torch.no_grad():  # a teacher unlike its student: its gradient path must be empty
        for param in model.teacher.parameters():
            param.add_(0.01)
    return model


def _batch(rows):
    batch = fake_batch(BATCH)
    # two rows of one product, one on each rank
    batch['data_samples'][6].set_metainfo(dict(product_id=batch['data_samples'][1].product_id))
    return dict(
        inputs={k: v[rows] for k, v in batch['inputs'].items()},
        data_samples=batch['data_samples'][rows],
    )


def _terms(model, inner, rows):
    inner.data_preprocessor.double()
    data = inner.data_preprocessor(_batch(rows))
    data['inputs']['images'] = data['inputs']['images'].double()
    return model(**data, mode='loss')


def _rank(rank, port, size, chunk_size, out):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group('gloo', rank=rank, world_size=size)
    inner = _build(chunk_size)
    model = DistributedDataParallel(inner)
    # dealt like cards, as the sampler does
    terms = _terms(model, inner, slice(rank, BATCH, size))
    sum(v for k, v in terms.items() if 'loss' in k).backward()
    values = torch.stack([v.detach().double() for v in terms.values()])
    dist.all_reduce(values)
    if rank == 0:
        torch.save(dict(values=values / size, grads=[p.grad for p in inner.parameters()]), out)
    end_rank()


@pytest.mark.parametrize('size, chunk_size', [(2, None), (2, 3), (4, 1)])
def test_several_processes_give_the_loss_and_gradients_of_one(tmp_path, size, chunk_size):
    model = _build()
    terms = _terms(model, model, slice(0, BATCH))
    sum(v for k, v in terms.items() if 'loss' in k).backward()

    out = tmp_path / 'rank0.pth'
    port = 20000 + os.getpid() % 20000
    mp.spawn(_rank, args=(port, size, chunk_size, str(out)), nprocs=size)
    both = torch.load(out, weights_only=True)
    # parameters are float64, softmax and losses float32: a few float32 roundings
    for (name, value), other in zip(terms.items(), both['values'], strict=True):
        torch.testing.assert_close(
            other, value.double(), rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f'{name}: {m}'
        )
    for (name, param), grad in zip(model.named_parameters(), both['grads'], strict=True):
        if param.grad is None:
            assert grad is None, name
        else:
            torch.testing.assert_close(
                grad, param.grad, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f'{name}: {m}'
            )
