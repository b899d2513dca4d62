"""projects/streams: choices, masks and the models of all four projects."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from eclip_mm.evaluation.functional import pairwise_iou
from eclip_mm.testing import fake_batch
from helpers.streams import KINDS, build, import_projects


@pytest.fixture(scope='module', autouse=True)
def projects(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import_projects()
        yield


def test_the_choices_of_a_step():
    from projects.streams.draws import StepChoices

    ids = torch.arange(600) // 2  # two rows of each product
    choices = StepChoices(0.5, tasks=dict(itm=2, mlm=2, mrm=1))
    seen = [choices.choose(ids, 600, step) for step in range(200)]
    shares = [sum(c.task == t for c in seen) / 200 for t in ('itm', 'mlm', 'mrm')]
    assert shares == pytest.approx([0.4, 0.4, 0.2], abs=0.1)
    for found in seen:
        assert found.is_pair.all() == (found.task != 'itm')
    step = [c.task for c in seen].index('itm')
    found = seen[step]
    assert found.is_pair.float().mean() == pytest.approx(0.5, abs=0.07)
    other = ids[found.partner] != ids
    assert torch.equal(other, ~found.is_pair)  # a text of the own product is no mismatch
    with pytest.raises(ValueError, match='one product only'):
        choices.choose(torch.zeros(4), 4, step)


def test_others_are_equally_likely():
    from projects.streams.draws import draw_others

    ids = torch.tensor([0, 1, 2, 1])
    found = torch.stack([draw_others(ids, ids, draw.expand(4)) for draw in torch.arange(8) / 8])
    assert found[:, 1].bincount(minlength=4).tolist() == [4, 0, 4, 0]
    assert found[:, 0].bincount(minlength=4).tolist() == [0, 3, 3, 2]


def test_hidden_regions_show_their_place_alone():
    model = build('CAPTURE', regions=dict(type='BoxRegions', proposer=dict(type='RegionProposer')))
    inputs = model.data_preprocessor(fake_batch())['inputs']
    regions, _ = model.network.find_regions(inputs['images'][:, 0])
    shown, wanted = model.hide_regions(regions, 'mrm')
    assert wanted.any() and not (wanted & ~regions.mask[:, 1:]).any()
    hidden = (shown.feats[:, 1:] == 0).all(dim=-1)
    kept = ~hidden
    assert torch.equal(shown.feats[:, 1:][kept], regions.feats[:, 1:][kept])
    assert torch.equal(shown.feats[:, 0], regions.feats[:, 0])
    boxes = regions.places[:, 1:, :4]
    for picture, row, its_wanted in zip(boxes, hidden, wanted, strict=True):
        close = torch.from_numpy(pairwise_iou(picture.numpy(), picture.numpy()) > 0.4)
        near = close[row & its_wanted].any(dim=0)
        assert row[near & ~its_wanted].all()  # what overlaps a hidden region is hidden, too
    assert torch.equal(shown.places, regions.places)


def test_the_loss_of_masked_regions_by_hand():
    """The head of UNITER: the map is the transposed one of the streams' input."""
    from projects.fusion.masked_modelling import NOT_HIDDEN
    from projects.streams.outputs import StreamOutputs, StreamStates
    from projects.streams.regions import Regions

    model = build('UNITER')
    states = torch.randn(2, 3, 32, requires_grad=True)
    feats = torch.randn(2, 3, 32)
    mask = torch.ones(2, 3).bool()
    hidden = torch.tensor([[True, False], [True, True]])
    outputs = StreamOutputs(
        torch.ones(2, 2),
        torch.ones(2, 2),
        id_hash=torch.arange(2),
        logit_scale=torch.tensor(1.0),
        states=StreamStates(states, states, states, states, mask, mask),
        regions=Regions(feats, torch.zeros(2, 3, 5), mask),
        word_targets=torch.full((2, 3), NOT_HIDDEN),
        hidden_regions=hidden,
        region_weights=torch.tensor([0.5, 2.0]),
    )
    head = model.heads['masked']
    head.modelling.patches.bias.data.fill_(0.3)
    found = head.loss(outputs)['loss_mrm']
    weight = model.network.streams.region_embed.weight
    slow = 0
    for row, place, factor in ((0, 1, 0.5), (1, 1, 2.0), (1, 2, 2.0)):
        guess = factor * (weight.T @ states[row, place] + 0.3)
        wanted = feats[row, place] - feats[row, place].mean()
        wanted = wanted / (wanted.square().mean() + 1e-5).sqrt()
        slow = slow + (guess - wanted).square().mean() / 3
    torch.testing.assert_close(found, slow)
    ours = torch.autograd.grad(found, (states, weight))
    torch.testing.assert_close(ours, torch.autograd.grad(slow, (states, weight)))


@pytest.mark.parametrize('kind', KINDS)
def test_padding_changes_nothing_and_regions_do(kind):
    model = build(kind).eval()
    data = model.data_preprocessor(fake_batch())
    regions, _ = model.network.find_regions(data['inputs']['images'][:, 0])
    ids, mask = data['inputs']['input_ids'], data['inputs']['attention_mask']
    found = model.network.read(ids, mask, regions)
    more = F.pad(ids, (0, 4), value=5), F.pad(mask, (0, 4))
    other = model.network.read(*more, regions)
    torch.testing.assert_close(other.regions, found.regions)
    words = mask.bool()
    torch.testing.assert_close(other.words[:, : ids.shape[1]][words], found.words[words])
    changed = replace(regions, feats=regions.feats.roll(1, 0))
    other = model.network.read(ids, mask, changed)
    assert (other.words - found.words)[words].abs().max() > 1e-4  # words see regions
    torch.testing.assert_close(other.own_words, found.own_words)


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


@pytest.mark.parametrize('kind', ['ViLBERT', 'UNITER'])
def test_the_map_is_grad_cam_of_the_last_layer(kind):
    model = build(kind).eval()
    data = model.data_preprocessor(fake_batch(batch_size=2))
    found = model(**data, mode='predict')[1].pred_score_map
    regions, _ = model.network.find_regions(data['inputs']['images'][:, 0])
    text, maps = (data['inputs']['input_ids'], data['inputs']['attention_mask']), []
    logits = model.matching_head.logits(model.network.read(*text, regions, maps=maps))
    (grad,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), maps[-1])
    count, first = int(text[1][1].sum()), text[0].shape[1] if kind == 'UNITER' else 0
    slow = torch.zeros(16)
    for head in range(2):
        for word in range(count):
            for k in range(16):
                place = 1, head, word, first + 1 + k
                slow[k] += (maps[-1][place] * grad[place].clamp(min=0)).item() / 2 / count
    torch.testing.assert_close(found.flatten(), slow)


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
        values = [terms[name] for terms in seen if terms.get(name)]
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
