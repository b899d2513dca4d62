"""projects/declip: views of texts, the bank, the four terms against loops, and two processes."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from eclip_mm.config.loading import load_config
from eclip_mm.registry import MODELS
from eclip_mm.testing import end_rank, fake_batch, tiny_model_config
from helpers.figures import logged
from helpers.processes import start_ranks

OFF = dict(itc=None, inter=None, itm=None, intra=None)
WORDS = dict(embed_dims=32, vocab_size=100, mask_id=2, first_id=3)


@pytest.fixture(scope='module', autouse=True)
def project(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import projects.declip.declip as declip

        yield declip


def build(words=WORDS, bank_size=5, **overrides):
    torch.manual_seed(0)
    cfg = tiny_model_config(type='DeCLIP', first_word_id=3, **overrides)
    head = dict(
        type='DeCLIPHead',
        bank_size=bank_size,
        simsiam=dict(hidden_dims=16, bottleneck_dims=8),
        words=words,
    )
    cfg['pretext_heads'].update(OFF, declip=head)
    return MODELS.build(cfg)


def test_two_words_change_places_or_some_are_left_out():
    from projects.declip.text_views import change_texts

    # [CLS] a b c [SEP] and [CLS] d [SEP] with padding; 1 and 2 are no words
    ids = torch.tensor([[1, 10, 11, 12, 2], [1, 10, 11, 12, 2], [1, 13, 2, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    kind, place, drop = (torch.full((3, 6), 0.9) for _ in range(3))
    kind[0, 0] = 0.1  # the first text swaps the words with the smallest draws: 10 and 12
    place[0, 1], place[0, 3] = 0.2, 0.3
    place[1, 1] = 0.0  # the second deletes what is drawn below 0.1, but not the kept word 10
    drop[1, 1], drop[1, 2], drop[1, 0] = 0.05, 0.05, 0.05
    drop[2] = 0.0  # the third has one word
    found, found_mask = change_texts(ids, mask, torch.stack([kind, place, drop], dim=2), 3)
    assert found[0].tolist() == [1, 12, 11, 10, 2] and found_mask[0].tolist() == [1] * 5
    assert found[1, :4].tolist() == [1, 10, 12, 2] and found_mask[1].tolist() == [1, 1, 1, 1, 0]
    assert found[2, :3].tolist() == [1, 13, 2] and found_mask[2].tolist() == [1, 1, 1, 0, 0]


def test_changed_texts_hold_their_words_and_padding_stays_behind():
    from projects.declip.text_views import change_texts

    data = fake_batch(50, num_tokens=12)['inputs']
    ids, mask = data['input_ids'], data['attention_mask']
    draws = torch.rand(50, 20, 3, generator=torch.Generator().manual_seed(0))
    found, found_mask = change_texts(ids, mask, draws, 3)
    swapped = deleted = 0
    for before, after, there, before_there in zip(ids, found, found_mask, mask, strict=True):
        words = after[there.bool()].tolist()
        old = before[before_there.bool()].tolist()
        assert there.tolist() == sorted(there.tolist(), reverse=True)
        swapped += words != old and sorted(words) == sorted(old)
        deleted += len(words) < len(old)
        assert len(words) >= 1 and not [w for w in words if words.count(w) > old.count(w)]
    assert swapped > 10 and deleted > 3


def test_the_nearest_text_of_the_bank():
    from projects.declip.neighbour_bank import NeighbourBank

    bank = NeighbourBank(3, 2)
    feats = F.normalize(torch.tensor([[1.0, 0.1], [0.1, 1.0]]), dim=1)
    found, ids = bank.nearest(feats, torch.tensor([5, 6]))
    assert torch.equal(found, feats) and ids.tolist() == [5, 6]  # an empty bank
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    bank.push(rows, torch.tensor([7, 8]))
    found, ids = bank.nearest(feats, torch.tensor([5, 6]))
    assert torch.equal(found, rows) and ids.tolist() == [7, 8]
    bank.push(torch.tensor([[-1.0, 0.0], [0.8, 0.6]]), torch.tensor([9, 10]))  # 7 is overwritten
    assert bank.nearest(feats, torch.tensor([5, 6]))[1].tolist() == [10, 8]
    copy = NeighbourBank(3, 2)
    copy.load_state_dict(bank.state_dict())
    assert copy.nearest(feats, torch.tensor([5, 6]))[1].tolist() == [10, 8]


def outputs_of(seed=0, ids=(7, 8, 9, 8)):
    from projects.declip.declip_head import DeCLIPOutputs

    g = torch.Generator().manual_seed(seed)
    feats = [
        F.normalize(torch.randn(len(ids), 6, generator=g).double(), dim=1).requires_grad_()
        for _ in range(4)
    ]
    outputs = DeCLIPOutputs(
        image_feats=feats[0],
        text_feats=feats[1],
        other_image_feats=feats[2],
        other_text_feats=feats[3],
        id_hash=torch.tensor(ids),
        logit_scale=torch.tensor(5.0).double(),
    )
    return outputs, feats


def head_of(**options):
    torch.manual_seed(0)
    simsiam = dict(hidden_dims=8, bottleneck_dims=4)
    cfg = dict(type='DeCLIPHead', embed_dims=6, bank_size=3, simsiam=simsiam, **options)
    return MODELS.build(cfg).double()


def row_loss(logits, target, others):
    return logits[[target, *others]].logsumexp(dim=0) - logits[target]


def test_contrast_and_neighbours_by_loops_value_and_gradient():
    """Rows 1 and 3 are of one product; a neighbour that is of the row's product is no negative."""
    outputs, (image, text, image2, text2) = outputs_of()
    head = head_of(weights=dict(contrast=1.0, neighbours=1.0))
    bank = F.normalize(torch.randn(3, 6, generator=torch.Generator().manual_seed(9)), dim=1)
    bank_ids = [8, 9, 20]
    head.bank.push(bank, torch.tensor(bank_ids))
    terms = head.loss(outputs)
    ids = [7, 8, 9, 8]
    contrast = neighbours = 0
    for x in (image, image2):
        for y in (text, text2):
            for a, b in ((x, y), (y, x)):
                for i in range(4):
                    others = [j for j in range(4) if ids[j] != ids[i]]
                    contrast = contrast + row_loss(5 * (b @ a[i]), i, others) / 32
            best = (y @ bank.double().T).argmax(dim=1)
            for i in range(4):
                others = [j for j in range(4) if ids[j] != ids[i] and bank_ids[best[j]] != ids[i]]
                logits = 5 * (bank.double()[best] @ x[i])
                neighbours = neighbours + row_loss(logits, i, others) / 16
    torch.testing.assert_close(terms['loss_contrast'], contrast)
    torch.testing.assert_close(terms['loss_neighbours'], neighbours)
    slow = torch.autograd.grad(contrast + neighbours, (image, text, image2, text2))
    both = terms['loss_contrast'] + terms['loss_neighbours']
    fast = torch.autograd.grad(both, (image, text, image2, text2))
    torch.testing.assert_close(fast, slow)


def test_simsiam_by_hand_and_without_gradient_through_the_target():
    from projects.declip.simsiam import SimSiam, negative_cosine

    predicted = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [0.0, -1.0]], requires_grad=True)
    loss = negative_cosine(predicted, target)  # cosines 0.6 and -1
    assert loss.item() == pytest.approx(0.2)
    loss.backward()
    assert target.grad is None and predicted.grad.abs().sum() > 0
    model = SimSiam(6, 8, 4).double()
    first, second = outputs_of()[1][:2]
    loss = model(first, second)
    assert loss.item() == pytest.approx(model(second, first).item()) and abs(loss.item()) <= 1


def test_weights_and_unknown_ones():
    outputs, _ = outputs_of()
    torch.manual_seed(0)
    plain = head_of(weights=dict(contrast=1.0, neighbours=1.0, simsiam=1.0)).loss(outputs)
    paper = head_of().loss(outputs)
    for name, weight in (('contrast', 0.4), ('neighbours', 0.2), ('simsiam', 0.2)):
        torch.testing.assert_close(paper[f'loss_{name}'], weight * plain[f'loss_{name}'])
    with pytest.raises(ValueError, match=r"\['simsam'\]"):
        head_of(weights=dict(simsam=1.0))


def test_hidden_words_start_at_the_entropy_of_the_vocabulary_and_train_the_text_tower():
    model = build()
    data = model.data_preprocessor(fake_batch())
    terms = model(**data, mode='loss')
    assert float(terms['loss_words']) / 0.2 == pytest.approx(math.log(100), rel=0.15)
    sum(v for k, v in terms.items() if 'loss' in k).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    samples = model(**data, mode='predict')
    assert samples[0].pred_score_map.shape == (4, 4)


def test_the_bank_is_written_by_complete_steps_alone():
    model = build(bank_size=8)
    data = model.data_preprocessor(fake_batch())
    model(**data, mode='loss')
    assert model.head.bank.count() == 0
    model.finish_step()
    assert model.head.bank.count() == 6
    model.begin_training()
    assert model.head.bank.count() == 0


@pytest.mark.parametrize(
    'options, said',
    [
        (dict(freeze=dict(text='all')), 'set pretext_heads.declip.words=None'),
        (dict(words=dict(WORDS, vocab_size=101)), 'vocab_size=101, the text tower 100'),
        (dict(words=dict(WORDS, embed_dims=16)), 'embed_dims=16, the text tower 32'),
        (dict(max_words=4), 'model.max_words=4: set it to the max_length'),
    ],
)
def test_what_cannot_work_is_an_error(options, said):
    with pytest.raises(ValueError, match=said):
        model = build(**options)
        model(**model.data_preprocessor(fake_batch()), mode='loss')


def test_another_head_is_an_error():
    with pytest.raises(ValueError, match='one pretext head, a DeCLIPHead'):
        cfg = tiny_model_config(type='DeCLIP')
        cfg['pretext_heads'].update(OFF, itc=dict(type='ITCHead'))
        MODELS.build(cfg)


def steps_of(model, optim, first, last):
    """Steps whose batch and dropout follow from their number, as those of a training do."""
    for step in range(first, last):
        torch.manual_seed(step)
        terms = model(**model.data_preprocessor(fake_batch(seed=step)), mode='loss')
        optim.zero_grad()
        sum(v for k, v in terms.items() if 'loss' in k).backward()
        optim.step()
        model.finish_step()
    return terms


def test_a_resumed_training_is_the_same_bit_for_bit(tmp_path):
    models = [build(bank_size=8).train() for _ in range(2)]
    optims = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in models]
    steps_of(models[0], optims[0], 0, 3)
    torch.save(dict(model=models[0].state_dict(), optim=optims[0].state_dict()), tmp_path / 'x')
    steps_of(models[0], optims[0], 3, 6)
    saved = torch.load(tmp_path / 'x', weights_only=True)
    models[1].load_state_dict(saved['model'])
    optims[1].load_state_dict(saved['optim'])
    steps_of(models[1], optims[1], 3, 6)
    ours, theirs = (model.state_dict() for model in models)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_learns():
    """30 steps on one batch: every term falls."""
    model = build(bank_size=64).train()
    optim = torch.optim.AdamW(model.parameters(), lr=3e-3)
    seen = []
    for _ in range(30):
        torch.manual_seed(0)
        terms = model(**model.data_preprocessor(fake_batch(batch_size=8)), mode='loss')
        optim.zero_grad()
        sum(v for k, v in terms.items() if 'loss' in k).backward()
        optim.step()
        model.finish_step()
        seen.append({k: float(v) for k, v in terms.items() if 'loss' in k})
    for name in seen[0]:
        assert seen[-1][name] < seen[0][name] - 0.05, (name, seen[0], seen[-1])


BATCH = 8


def two_steps(rows, wrap=lambda model: model):
    """Loss and gradients of the second of two steps, whose bank holds the texts of the first."""
    inner = build(bank_size=BATCH + 3).double()
    inner.data_preprocessor.double()
    model = wrap(inner)
    for seed in (0, 1):
        batch = fake_batch(BATCH, num_tokens=12, seed=seed)
        batch['inputs']['attention_mask'][1::2, 5:] = 0  # rank 1 has the shorter texts
        inputs = {k: v[rows] for k, v in batch['inputs'].items()}
        longest = int(inputs['attention_mask'].sum(dim=1).max())
        inputs = {k: v if k == 'images' else v[:, :longest] for k, v in inputs.items()}
        data = inner.data_preprocessor(
            dict(inputs=inputs, data_samples=batch['data_samples'][rows])
        )
        data['inputs']['images'] = data['inputs']['images'].double()
        inner.zero_grad()
        terms = model(**data, mode='loss')
        sum(v for k, v in terms.items() if 'loss' in k).backward()
        inner.finish_step()
    grads = {n: p.grad for n, p in inner.named_parameters() if p.requires_grad}
    return {k: v.detach().double() for k, v in terms.items()}, grads


def on_rank(rank, out):
    import projects.declip.declip  # noqa: F401  registers in this process

    dist.init_process_group('gloo')
    terms, grads = two_steps(slice(rank, BATCH, 2), torch.nn.parallel.DistributedDataParallel)
    torch.save(dict(terms=terms, grads=grads), f'{out}{rank}')
    end_rank()


@pytest.mark.slow
@pytest.mark.alone
def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path, repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root))
    terms, grads = two_steps(slice(0, BATCH))
    start_ranks(on_rank, str(tmp_path / 'rank'))
    parts = [torch.load(tmp_path / f'rank{k}', weights_only=True) for k in range(2)]
    for name, value in terms.items():
        both = (parts[0]['terms'][name] + parts[1]['terms'][name]) / 2
        torch.testing.assert_close(both, value, rtol=1e-6, atol=1e-9)
    for name, grad in grads.items():
        torch.testing.assert_close(
            parts[0]['grads'][name], grad, rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f'{n}: {m}'
        )


@pytest.mark.parametrize('name', ['tiny_synthetic', 'lite2_snacks', 'lite2_grocery', 'vitb16'])
def test_configs_have_the_data_and_steps_of_their_base(name, repo_root):
    base = dict(tiny_synthetic='demo/eclip_tiny_synthetic', vitb16='eclip_vitb16')
    cfg = load_config(str(repo_root / f'projects/declip/declip_{name}.py'))
    other = load_config(str(repo_root / f'configs/{base.get(name, f"photos/eclip_{name}")}.py'))
    for key in set(other) - {'model'}:
        assert cfg[key] == other[key], key
    changed = {key for key in other.model if cfg.model[key] != other.model[key]}
    assert changed == {'type', 'pretext_heads'}
    heads = {name for name, head in cfg.model.pretext_heads.items() if head}
    assert heads == {'declip'}


@pytest.mark.slow
def test_its_config_trains(workplace):
    config = workplace.shrink(
        workplace.root / 'projects/declip/declip_tiny_synthetic.py', 'declip.py'
    )
    words = 'model.pretext_heads.declip.words'  # as the shrunk text tower
    options = ('train_cfg.max_epochs=1', f'{words}.embed_dims=32', f'{words}.vocab_size=300')
    workplace.train('declip', '--cfg-options', *options, config=config)
    steps = [row for row in logged(workplace.folder / 'declip') if 'loss' in row]
    assert len(steps) == 8 and all('loss_words' in row for row in steps)
