"""projects/filip: the loss against loops, padding, two processes, and a whole training."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from eclip_mm.config.loading import load_config
from eclip_mm.registry import MODELS
from eclip_mm.testing import end_rank, fake_batch, tiny_model_config
from helpers import towers
from helpers.figures import logged
from helpers.processes import start_ranks

OFF = dict(itc=None, inter=None, itm=None, intra=None)


@pytest.fixture(scope='module', autouse=True)
def project(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import projects.filip.filip as filip

        yield filip


def build(**overrides):
    torch.manual_seed(0)
    cfg = tiny_model_config(type='FILIP', **overrides)
    cfg['pretext_heads'].update(OFF, filip=dict(type='FILIPHead'))
    return MODELS.build(cfg)


def random_tokens(num_rows, num_tokens, seed, lengths=None):
    g = torch.Generator().manual_seed(seed)
    tokens = F.normalize(torch.randn(num_rows, num_tokens, 8, generator=g).double(), dim=-1)
    mask = torch.arange(num_tokens) < torch.tensor(lengths or [num_tokens] * num_rows)[:, None]
    return tokens.requires_grad_(), mask


def similarity_by_loops(tokens, others, mask, other_mask):
    """(B, G), one dot product at a time."""
    rows = []
    for own, own_mask in zip(tokens, mask, strict=True):
        row = []
        for other, its_mask in zip(others, other_mask, strict=True):
            best = [
                max((a @ b for b, there in zip(other, its_mask, strict=True) if there))
                for a, there in zip(own, own_mask, strict=True)
                if there
            ]
            row.append(sum(best) / len(best))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def test_similarity_by_hand():
    from projects.filip.token_similarity import token_similarity

    picture = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    texts = torch.tensor([[[0.6, 0.8], [1.0, 0.0]], [[-1.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1], [1, 0]], dtype=torch.bool)
    # text 0: patch 0 finds 1, patch 1 finds 0.8; text 1 has one word: -1 and 0
    i2t = token_similarity(picture, texts, other_mask=mask)
    torch.testing.assert_close(i2t, torch.tensor([[0.9, -0.5]]))
    # from the words: max(0.6, 0.8) and 1; max(-1, 0)
    t2i = token_similarity(texts, picture, mask=mask)
    torch.testing.assert_close(t2i, torch.tensor([[0.9], [0.0]]))


@pytest.mark.parametrize('max_elements', [1, 100, 2**27])  # one other at a time, two, all
def test_similarity_is_that_of_loops_value_and_gradient(max_elements):
    from projects.filip.token_similarity import token_similarity

    texts, mask = random_tokens(3, 5, seed=0, lengths=[5, 2, 4])
    images, every = random_tokens(7, 3, seed=1)
    weights = torch.randn(3, 7, generator=torch.Generator().manual_seed(2)).double()
    for args in ((texts, images, mask, every), (images, texts, every, mask)):
        slow = similarity_by_loops(*args)
        fast = token_similarity(*args, max_elements=max_elements)
        torch.testing.assert_close(fast, slow)
        weighted = weights.view(slow.shape)
        expected = torch.autograd.grad((slow * weighted).sum(), (texts, images))
        found = torch.autograd.grad((fast * weighted).sum(), (texts, images))
        torch.testing.assert_close(found, expected)
    assert (found[0][~mask] == 0).all()  # padding gets no gradient


def test_memory_is_bounded():
    """No tensor that is kept for the gradient holds all pairs of tokens."""
    from projects.filip.token_similarity import token_similarity

    images, _ = random_tokens(6, 16, seed=0)
    texts, mask = random_tokens(20, 12, seed=1, lengths=[12] * 10 + [3] * 10)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        token_similarity(images, texts, other_mask=mask, max_elements=4000)
    # 6 * 16 * 12 = 1,152 similarities a text, three texts at a time
    assert len(kept) > 0 and max(kept) <= 6 * 16 * 20 < 6 * 16 * 20 * 12


def test_the_loss_by_loops():
    """Both ways, mean of two cross-entropies; a second row of a product is no negative."""
    from projects.filip.filip_head import FILIPOutputs
    from projects.filip.token_similarity import mean_token

    images, every = random_tokens(4, 3, seed=3)
    texts, mask = random_tokens(4, 6, seed=4, lengths=[6, 3, 4, 5])
    ids = torch.tensor([7, 8, 9, 8])
    outputs = FILIPOutputs(
        mean_token(images),
        mean_token(texts, mask),
        id_hash=ids,
        logit_scale=torch.tensor(5.0).double(),
        patch_tokens=images,
        text_tokens=texts,
        text_mask=mask,
    )
    terms = MODELS.build(dict(type='FILIPHead')).loss(outputs)
    total = 0
    for logits in (
        5 * similarity_by_loops(images, texts, every, mask),
        5 * similarity_by_loops(texts, images, mask, every),
    ):
        for i in range(4):
            others = [j for j in range(4) if j == i or ids[j] != ids[i]]
            total = total - (logits[i, i] - logits[i, others].logsumexp(dim=0)) / 8
    torch.testing.assert_close(terms['loss_filip'], total)
    expected = torch.autograd.grad(total, (images, texts))
    found = torch.autograd.grad(terms['loss_filip'], (images, texts))
    torch.testing.assert_close(found, expected)


def test_float32_under_autocast():
    from projects.filip.token_similarity import token_similarity

    images, texts = random_tokens(2, 4, seed=0)[0].float(), random_tokens(3, 5, seed=1)[0].float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast = token_similarity(images, texts)
    assert torch.equal(cast, token_similarity(images, texts))


def pad(batch, more):
    """The same texts with other ids at more places of padding."""
    inputs = dict(batch['inputs'])
    inputs['input_ids'] = F.pad(inputs['input_ids'], (0, more), value=5)
    inputs['attention_mask'] = F.pad(inputs['attention_mask'], (0, more))
    return dict(batch, inputs=inputs)


def test_padding_changes_nothing():
    model = build().eval()
    batch = model.data_preprocessor(fake_batch())
    plain, padded = (model(**b, mode='loss') for b in (batch, pad(batch, 9)))
    torch.testing.assert_close(padded, plain)
    plain, padded = (
        torch.stack([s.pred_text_feat for s in model(**b, mode='predict')])
        for b in (batch, pad(batch, 9))
    )
    torch.testing.assert_close(padded, plain)


@pytest.mark.slow
def test_one_step_trains_every_weight_and_predict_fills_the_fields():
    model = build()
    batch = fake_batch()
    data = model.data_preprocessor(batch)
    terms = model(**data, mode='loss')
    assert {'loss_filip', 'filip_acc', 'pooled_acc', 'logit_scale'} == set(terms)
    terms['loss_filip'].backward()
    # DDP waits for the gradient of every weight in every step
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]

    optim = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        optim.zero_grad()
        losses.append(model(**data, mode='loss')['loss_filip'])
        losses[-1].backward()
        optim.step()
    assert losses[-1] < 0.5 * losses[0]

    model.eval()
    sample = model(**data, mode='predict')[2]
    image, text = model(data['inputs'], mode='tensor')
    torch.testing.assert_close(sample.pred_image_feat, image[2])
    torch.testing.assert_close(sample.pred_instance_feat, image[2])
    torch.testing.assert_close(sample.pred_text_feat, text[2])
    assert sample.pred_image_feat.norm() == pytest.approx(1, abs=1e-6)


def test_the_score_map_is_the_mean_similarity_with_the_words():
    model = build().eval()
    data = model.data_preprocessor(fake_batch())
    sample = model(**data, mode='predict')[1]
    _, patches, grid = model.network.encode_image(data['inputs']['images'][1:2, 0])
    ids, mask = (data['inputs'][k][1:2] for k in ('input_ids', 'attention_mask'))
    words = model.network.encode_text_tokens(ids, mask)[0, mask[0].bool()]
    mean = (patches[0] @ words.T).mean(dim=1).view(grid)
    # up to the length of the mean word, and the smallest value moved to 0
    expected = (mean - mean.min()) / words.mean(dim=0).norm() / 2
    torch.testing.assert_close(sample.pred_score_map, expected.detach(), atol=1e-6, rtol=1e-4)


def test_a_chunked_step_has_the_gradients_of_the_whole_batch():
    found = []
    for chunk_size in (None, 4):  # of 6: 4 + 2
        model = build(chunk_size=chunk_size).double()
        data = model.data_preprocessor(fake_batch())
        data['inputs']['images'] = data['inputs']['images'].double()
        model(**data, mode='loss')['loss_filip'].backward()
        found.append([p.grad for p in model.parameters()])
    for whole, chunks in zip(*found, strict=True):
        torch.testing.assert_close(chunks, whole, rtol=1e-9, atol=1e-12)


def test_a_task_that_needs_the_decoder_is_an_error():
    cfg = tiny_model_config(type='FILIP')
    cfg['pretext_heads'].update(inter=None, itm=None, filip=dict(type='FILIPHead'))
    with pytest.raises(ValueError, match=r"pretext_heads \['intra'\]"):
        MODELS.build(cfg)


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(patch_projection='separate'), "'separate': set patch_projection='shared'"),
        (dict(text_encoder=dict(padding='max_length')), "padding is 'max_length'"),
    ],
)
def test_towers_whose_tokens_it_cannot_compare_are_errors(options, words):
    cfg = tiny_model_config(type='FILIP')
    cfg['pretext_heads'].update(OFF, filip=dict(type='FILIPHead'))
    for key, value in options.items():
        cfg[key] = cfg[key] | value if isinstance(value, dict) else value
    if 'text_encoder' in options:
        cfg['text_encoder']['length_groups'] = 1
    with pytest.raises(ValueError, match=words):
        MODELS.build(cfg)


def test_a_pooling_head_that_nothing_uses_is_frozen():
    siglip = dict(model_type='siglip_vision_model', config=towers.IMAGE['siglip_vision_model'])
    model = build(image_encoder=dict(type='TransformersImageEncoder', **siglip)).train()
    model(**model.data_preprocessor(fake_batch()), mode='loss')['loss_filip'].backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


BATCH = 8


def terms_and_gradients(rows, wrap=lambda model: model):
    """Loss and gradients on some rows of a batch, texts padded to the longest of these."""
    inner = build().double()
    inner.data_preprocessor.double()
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
    terms['loss_filip'].backward()
    grads = {n: p.grad for n, p in inner.named_parameters() if p.requires_grad}
    return {k: v.detach().double() for k, v in terms.items()}, grads, longest


def on_rank(rank, out):
    import projects.filip.filip  # noqa: F401  registers in this process

    dist.init_process_group('gloo')
    terms, grads, longest = terms_and_gradients(
        slice(rank, BATCH, 2), torch.nn.parallel.DistributedDataParallel
    )
    torch.save(dict(terms=terms, grads=grads, longest=longest), f'{out}{rank}')
    end_rank()


@pytest.mark.slow
@pytest.mark.alone
def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path, repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root))
    terms, grads, _ = terms_and_gradients(slice(0, BATCH))
    start_ranks(on_rank, str(tmp_path / 'rank'))
    parts = [torch.load(tmp_path / f'rank{k}', weights_only=True) for k in range(2)]
    assert parts[0]['longest'] != parts[1]['longest']  # ranks pad differently
    for name, value in terms.items():
        both = (parts[0]['terms'][name] + parts[1]['terms'][name]) / 2
        torch.testing.assert_close(both, value, rtol=1e-6, atol=1e-9)
    for name, grad in grads.items():
        torch.testing.assert_close(
            parts[0]['grads'][name], grad, rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f'{n}: {m}'
        )


@pytest.mark.parametrize(
    'name, base, heads',
    [
        ('filip_tiny_synthetic', 'demo/eclip_tiny_synthetic.py', ['filip']),
        ('filip_tiny_itc_synthetic', 'demo/eclip_tiny_synthetic.py', ['itc', 'filip']),
        ('filip_vitb16', 'eclip_vitb16.py', ['filip']),
    ],
)
def test_configs_have_the_towers_and_steps_of_their_base(name, base, heads, repo_root):
    cfg = load_config(str(repo_root / f'projects/filip/{name}.py'))
    for encoder in ('image_encoder', 'text_encoder'):
        cfg.model[encoder].pretrained = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert list(model.heads) == heads
    other = load_config(str(repo_root / 'configs' / base))
    for key in set(other) - {'model'}:
        assert cfg[key] == other[key], key
    changed = {key for key in other.model if cfg.model[key] != other.model[key]}
    assert changed - {'image_encoder', 'text_encoder'} == {
        'type',
        'pretext_heads',
    }  # pretrained=None


@pytest.mark.slow
def test_its_config_trains(workplace):
    config = workplace.shrink(
        workplace.root / 'projects/filip/filip_tiny_synthetic.py', 'filip.py'
    )
    workplace.train('filip', '--cfg-options', 'train_cfg.max_epochs=1', config=config)
    rows = logged(workplace.folder / 'filip')
    steps = [row for row in rows if 'loss' in row]
    assert len(steps) == 8 and all('loss_filip' in row for row in steps)
    assert all('loss_itc' not in row and 'loss_intra' not in row for row in steps)
    measured = [row for row in rows if 'photos/right_box' in row]
    assert measured and 'products/fine_R@1' in measured[-1]
