"""The models on two streams in two processes."""

import pytest
import torch
import torch.distributed as dist

from eclip_mm.testing import end_rank, fake_batch
from helpers.processes import start_ranks
from helpers.streams import KINDS, build, import_projects

BATCH = 8


def terms_and_gradients(kind, rows, wrap=lambda model: model):
    """Losses and gradients of some rows of a batch, texts padded to the longest of these."""
    inner = build(kind).double()
    inner.data_preprocessor.double()
    inner.num_steps = dict(UNITER=5).get(kind, 0)
    batch = fake_batch(BATCH, num_tokens=12)
    # two rows of one product, one on each rank
    batch['data_samples'][6].set_metainfo(dict(product_id=batch['data_samples'][1].product_id))
    batch['inputs']['attention_mask'][1::2, 5:] = 0  # rank 1 has the shorter texts
    inputs = {k: v[rows] for k, v in batch['inputs'].items()}
    longest = int(inputs['attention_mask'].sum(dim=1).max())
    inputs = {k: v if k == 'images' else v[:, :longest] for k, v in inputs.items()}
    data = inner.data_preprocessor(dict(inputs=inputs, data_samples=batch['data_samples'][rows]))
    data['inputs']['images'] = data['inputs']['images'].double()
    model = wrap(inner)  # by name: DDP must live until the gradients are there
    terms = model(**data, mode='loss')
    sum(v for k, v in terms.items() if 'loss' in k).backward()
    grads = {n: p.grad for n, p in inner.named_parameters() if p.requires_grad}
    return {k: v.detach().double() for k, v in terms.items()}, grads


def on_rank(rank, out):
    dist.init_process_group('gloo')
    import_projects()
    for kind in KINDS:
        terms, grads = terms_and_gradients(
            kind, slice(rank, BATCH, 2), torch.nn.parallel.DistributedDataParallel
        )
        torch.save(dict(terms=terms, grads=grads), f'{out}{kind}{rank}')
    end_rank()


@pytest.mark.slow
@pytest.mark.alone
def test_two_processes_give_the_losses_and_gradients_of_one(tmp_path, repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root))
    import_projects()
    start_ranks(on_rank, str(tmp_path / 'rank'))
    for kind in KINDS:
        terms, grads = terms_and_gradients(kind, slice(0, BATCH))
        parts = [torch.load(tmp_path / f'rank{kind}{k}', weights_only=True) for k in range(2)]
        for name, value in terms.items():
            both = (parts[0]['terms'][name] + parts[1]['terms'][name]) / 2
            torch.testing.assert_close(both, value, rtol=1e-6, atol=1e-9, msg=f'{kind} {name}')
        for name, grad in grads.items():
            torch.testing.assert_close(
                parts[0]['grads'][name],
                grad,
                rtol=1e-5,
                atol=1e-8,
                msg=lambda m, n=name, k=kind: f'{k} {n}: {m}',
            )
