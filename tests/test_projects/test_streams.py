"""projects/streams: masks, draws, encoder and the models of all four projects."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from eclip_mm.config.loading import load_config
from eclip_mm.registry import MODELS
from eclip_mm.testing import end_rank, fake_batch, tiny_model_config
from helpers.processes import start_ranks
from helpers.streams import KINDS, build, import_projects


@pytest.fixture(scope='module', autouse=True)
def projects(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import_projects()
        yield


def masks(**options):
    return MODELS.build(dict(type='StepMasks', mask_id=4, vocab_size=100, **options))


def test_hidden_words():
    ids = torch.randint(5, 100, (400, 20), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, 9] = 2, 3
    mask = (torch.arange(20) < 10).long().expand(400, -1)
    shown, targets = masks().words(ids, mask, 7, 400, slice(0, 400))
    wanted = targets >= 0
    assert not wanted[:, [0, 9, *range(10, 20)]].any()  # special tokens and padding
    assert wanted.any(dim=1).all()  # at least one of each text
    assert torch.equal(targets[wanted], ids[wanted])
    assert torch.equal(shown[~wanted], ids[~wanted])
    # 15% of 8 words, or one of those texts that would have none: 0.15 + 0.85^8 / 8
    assert wanted[:, 1:9].float().mean() == pytest.approx(0.184, abs=0.02)
    hidden = shown[wanted] == 4
    kept = shown[wanted] == ids[wanted]
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.04)
    assert kept.float().mean() == pytest.approx(0.1, abs=0.03)
    assert (shown[wanted][~hidden] >= 5).all()
    # rows of a rank, padded further, are those of the whole batch
    odd = slice(1, 400, 2)
    part = masks().words(F.pad(ids[odd], (0, 3)), F.pad(mask[odd], (0, 3)), 7, 400, odd)
    assert torch.equal(part[0][:, :20], shown[odd]) and torch.equal(part[1][:, :20], targets[odd])


def test_hidden_regions():
    mask = (torch.arange(11) < torch.tensor([[11], [4]])).repeat(200, 1)
    wanted, hidden = masks().regions(mask, 3, 400, slice(0, 400))
    assert not wanted[:, 0].any() and not (wanted & ~mask).any()
    assert wanted.any(dim=1).all() and (hidden <= wanted).all()
    assert hidden.sum() / wanted.sum() == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize(
    'options, words',
    [(dict(first_id=100), r'masking.first_id=100 is no id'), (dict(word_prob=0), 'word_prob')],
)
def test_masks_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        masks(**options)


def test_the_draws_of_a_step():
    from projects.streams.draws import StepSampler

    ids = torch.arange(600) // 2  # two rows of each product
    sampler = StepSampler(0.5, tasks=dict(itm=2, mlm=2, mrm=1))
    seen = [sampler(ids, slice(0, 600), step) for step in range(200)]
    shares = [sum(d.task == t for d in seen) / 200 for t in ('itm', 'mlm', 'mrm')]
    assert shares == pytest.approx([0.4, 0.4, 0.2], abs=0.1)
    for draws in seen:
        assert draws.is_pair.all() == (draws.task != 'itm')
    draws = next(d for d in seen if d.task == 'itm')
    assert draws.is_pair.float().mean() == pytest.approx(0.5, abs=0.07)
    other = ids[draws.partner] != ids
    assert torch.equal(other, ~draws.is_pair)  # a text of the own product is no mismatch
    step = seen.index(draws)
    odd = sampler(ids, slice(1, 600, 2), step)
    assert torch.equal(odd.partner, draws.partner[1::2]) and odd.seed == draws.seed
    with pytest.raises(ValueError, match='one product only'):
        sampler(torch.zeros(4), slice(0, 4), step)


def test_partners_are_equally_likely():
    from projects.streams.draws import draw_others

    ids = torch.tensor([0, 1, 2, 1])
    draws = torch.arange(8) / 8
    found = torch.stack([draw_others(ids, slice(0, 4), d.expand(4)) for d in draws])
    assert found[:, 1].bincount(minlength=4).tolist() == [4, 0, 4, 0]
    assert found[:, 0].bincount(minlength=4).tolist() == [0, 3, 3, 2]


@pytest.mark.parametrize('kind', KINDS)
def test_padding_and_hidden_content_change_nothing(kind):
    model = build(kind).eval()
    data = model.data_preprocessor(fake_batch())
    regions, _ = model.network.find_regions(data['inputs']['images'][:, 0])
    ids, mask = data['inputs']['input_ids'], data['inputs']['attention_mask']
    hidden = torch.zeros_like(regions.mask)
    hidden[:, 3] = True
    found = model.network.read(ids, mask, regions, hidden)
    regions.feats = regions.feats.clone()
    regions.feats[:, 3] = torch.randn(32)
    more = F.pad(ids, (0, 4), value=5), F.pad(mask, (0, 4))
    other = model.network.read(*more, regions, hidden)
    torch.testing.assert_close(other.regions, found.regions)
    words = mask.bool()
    torch.testing.assert_close(other.words[:, : ids.shape[1]][words], found.words[words])
    shown = model.network.read(ids, mask, regions)
    assert (shown.words - found.words)[words].abs().max() > 1e-4  # words see regions
    alone = model.network.read(ids.roll(1, 0), mask, regions, hidden).own_regions
    torch.testing.assert_close(alone, found.own_regions)


@pytest.mark.parametrize('kind', KINDS)
def test_predictions(kind):
    model = build(kind).eval()
    data = model.data_preprocessor(fake_batch())
    sample = model(**data, mode='predict')[2]
    image, text = model(data['inputs'], mode='tensor')
    torch.testing.assert_close(sample.pred_image_feat, image[2])
    torch.testing.assert_close(sample.pred_text_feat, text[2])
    for name in ('pred_image_feat', 'pred_instance_feat'):
        assert getattr(sample, name).norm() == pytest.approx(1, abs=1e-6)
    for name in ('pred_score_map', 'pred_image_prompt_map'):
        assert getattr(sample, name).shape == (4, 4)
        assert getattr(sample, name).min() >= 0 < getattr(sample, name).max()


def test_the_map_of_attention_is_that_of_words_to_patches():
    model = build('SCALE', score_map='attention').eval()
    data = model.data_preprocessor(fake_batch())
    found = model(**data, mode='predict')[1].pred_score_map
    regions, _ = model.network.find_regions(data['inputs']['images'][:, 0])
    maps = []
    text = data['inputs']['input_ids'], data['inputs']['attention_mask']
    model.network.read(*text, regions, maps=maps)
    count = int(text[1][1].sum())
    num_words = text[0].shape[1]
    expected = torch.stack(
        [sum(maps[0][1, h, w, num_words + 1 :] for w in range(count)) for h in range(2)]
    ).mean(dim=0)
    torch.testing.assert_close(found.flatten(), expected.detach() / count)


def test_grad_cam_by_hand():
    """Attention of one head, two words (and padding) and three regions; its weights are known."""
    from projects.streams.grounding import grad_cam_map
    from projects.streams.outputs import StreamStates
    from projects.streams.regions import Regions

    attention = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.0, 0.0, 1.0]])[None, None]
    weight = torch.tensor([[9.0, 2.0, -4.0], [9.0, -1.0, 2.0], [9.0, 9.0, 9.0]])
    states = StreamStates(
        *[torch.zeros(1, 3, 2)] * 4, torch.tensor([[True, True, False]]), torch.ones(1, 3).bool()
    )
    regions = Regions(torch.zeros(1, 3, 2), torch.zeros(1, 3, 5), states.region_mask)

    def read(maps):
        maps.append(attention.requires_grad_())
        return states, (attention * weight).sum(dim=(1, 2, 3))

    found = grad_cam_map(read, regions, (1, 2), -1)
    # words 0 and 1: 0.5 * 2 and 0; 0 and 0.3 * 2; the whole picture and padding are left out
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.3]]]))


@pytest.mark.parametrize('kind', ['CAPTURE', 'UNITER'])
def test_a_box_in_the_place_of_patches(kind):
    model = build(kind, regions=dict(type='BoxRegions', proposer=dict(type='RegionProposer')))
    data = model.data_preprocessor(fake_batch())
    terms = model(**data, mode='loss')
    sum(v for k, v in terms.items() if 'loss' in k).backward()
    model.eval()
    assert model(**data, mode='predict')[0].pred_score_map.shape == (4, 4)


def losses_of(model, steps):
    """Terms of some steps on one batch, with the optimiser of a training."""
    data = model.data_preprocessor(fake_batch(batch_size=8))
    optim = torch.optim.AdamW(model.parameters(), lr=3e-3)
    seen = []
    for step in range(steps):
        model.discard_step()
        model.num_steps = step % 5  # masks and pairs repeat, and all tasks are among them
        optim.zero_grad()
        terms = model(**data, mode='loss')
        sum(v for k, v in terms.items() if 'loss' in k).backward()
        # DDP waits for the gradient of every weight in every step
        trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        assert not [n for n, p in trained if p.grad is None]
        optim.step()
        seen.append({k: float(v.detach()) for k, v in terms.items()})
    return seen


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_it_learns(kind):
    seen = losses_of(build(kind), 35)
    for name in {k for terms in seen for k in terms if 'loss' in k} - {'loss_wra'}:
        values = [terms[name] for terms in seen if terms[name] != 0]
        assert min(values[-3:]) < 0.9 * values[0], (name, values)


def steps_of(model, optim, first, last):
    """Steps whose batch and dropout follow from their number, as those of a training do."""
    for step in range(first, last):
        torch.manual_seed(step)
        terms = model(**model.data_preprocessor(fake_batch(seed=step)), mode='loss')
        optim.zero_grad()
        sum(v for k, v in terms.items() if 'loss' in k).backward()
        optim.step()
        model.finish_step()


@pytest.mark.parametrize('kind', KINDS)
def test_a_resumed_training_is_the_same_bit_for_bit(kind, tmp_path):
    models = [build(kind, dropout=0.1).train() for _ in range(2)]
    optims = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in models]
    steps_of(models[0], optims[0], 0, 3)
    torch.save(dict(model=models[0].state_dict(), optim=optims[0].state_dict()), tmp_path / 'x')
    steps_of(models[0], optims[0], 3, 6)
    saved = torch.load(tmp_path / 'x', weights_only=True)
    models[1].load_state_dict(saved['model'])
    optims[1].load_state_dict(saved['optim'])
    steps_of(models[1], optims[1], 3, 6)
    ours, theirs = (model.state_dict() for model in models)
    assert models[1].num_steps == 6 and list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_no_gradient_of_the_first_stage_reaches_the_towers():
    model = build('ViLBERT')
    data = model.data_preprocessor(fake_batch())
    model(**data, mode='loss')['loss_itc'].backward()
    reached = [n for n, p in model.named_parameters() if p.grad is not None]
    assert {n.split('.')[-2] for n in reached if '.' in n} == {'image_proj', 'text_proj'}


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


BASES = dict(
    tiny_synthetic='configs/demo/eclip_tiny_synthetic.py',
    vitb16='configs/eclip_vitb16.py',
    lite2_snacks='configs/photos/clip_lite2_snacks.py',
    lite2_grocery='configs/photos/clip_lite2_grocery.py',
)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', BASES)
def test_configs_have_the_towers_and_steps_of_their_base(kind, name, repo_root):
    folder = kind.lower()
    cfg = load_config(str(repo_root / f'projects/{folder}/{folder}_{name}.py'))
    other = load_config(str(repo_root / BASES[name]))
    for key in set(other) - {'model'}:
        assert cfg[key] == other[key], key
    changed = {key for key in other.model if cfg.model[key] != other.model[key]}
    assert changed <= {'type', 'pretext_heads', 'projections', 'embed_dims'}
    if 'lite2' in name:  # whose towers may not be on this machine
        return
    for encoder in ('image_encoder', 'text_encoder'):
        cfg.model[encoder].pretrained = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    heads = [head for head in KINDS[kind]['heads'] if head != 'itc']
    assert set(model.heads) - {'itc'} == {*heads, 'words', 'regions'}


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(chunk_size=2), 'chunk_size=2 would not bound'),
        (dict(tasks=dict(mlm=1, itc=1)), r"unknown names \['itc'\]"),
        (dict(projections=dict(image='linear')), 'set projections=None'),
        (dict(masking=dict(type='StepMasks', mask_id=4, vocab_size=99)), 'set vocab_size=100'),
        (dict(text_encoder=dict(padding='max_length', length_groups=1)), "is 'max_length'"),
    ],
)
def test_what_it_cannot_do_is_an_error(options, words):
    if 'text_encoder' in options:
        options = dict(text_encoder=tiny_model_config()['text_encoder'] | options['text_encoder'])
    with pytest.raises((ValueError, KeyError), match=words):
        build('CAPTURE', **options)
