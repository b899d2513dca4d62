"""projects/fusion: layers against transformers' BLIP, losses against loops, queue and masking."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eclip_mm.registry import METRICS, MODELS


@pytest.fixture(scope='module', autouse=True)
def project(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import projects.fusion.encoder
        import projects.fusion.masked_modelling
        import projects.fusion.two_stage  # noqa: F401

        yield


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def fusion(**options):
    torch.manual_seed(0)
    cfg = dict(type='FusionEncoder', num_layers=2, embed_dims=8, num_heads=2, ffn_dims=12)
    return MODELS.build(cfg | options).double()


TEXT_MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)


@pytest.mark.parametrize('crosses', [True, False])
def test_layers_are_those_of_transformers_blip(crosses):
    from transformers.models.blip.configuration_blip import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextLayer

    config = BlipTextConfig(
        hidden_size=8,
        encoder_hidden_size=6,
        num_attention_heads=2,
        intermediate_size=12,
        is_decoder=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    ours = fusion(other_dims=6)
    states, others = random(3, 4, 8), random(3, 5, 6, seed=1)
    mask = torch.where(TEXT_MASK, 0.0, float('-inf'))[:, None, None].double()
    theirs = states
    for layer in ours.layers:
        its = BlipTextLayer(config, 0).double().eval()
        for mine, part in ((layer.own, its.attention), (layer.cross, its.crossattention)):
            for name in ('query', 'key', 'value'):
                getattr(part.self, name).load_state_dict(getattr(mine, name).state_dict())
            part.output.dense.load_state_dict(mine.out.state_dict())
            torch.nn.init.normal_(mine.norm.weight)
            part.output.LayerNorm.load_state_dict(mine.norm.state_dict())
        its.intermediate.dense.load_state_dict(layer.up.state_dict())
        its.output.dense.load_state_dict(layer.down.state_dict())
        theirs = its(theirs, others if crosses else None, mask)
    found, _ = ours(states, TEXT_MASK, others if crosses else None)
    torch.testing.assert_close(found, theirs)


@pytest.mark.parametrize('wiring', ['cross', 'co', 'single'])
def test_each_side_reads_what_its_wiring_says_and_no_padding(wiring):
    encoder = fusion(wiring=wiring)
    words, patches = random(3, 4, 8), random(3, 5, 8, seed=1)
    words_after, patches_after = encoder(words, TEXT_MASK, patches)
    padded = words + 9 * ~TEXT_MASK[..., None]
    again, patches_again = encoder(padded, TEXT_MASK, patches)
    torch.testing.assert_close(again[TEXT_MASK], words_after[TEXT_MASK])
    torch.testing.assert_close(patches_again, patches_after)
    other, _ = encoder(words, TEXT_MASK, patches + random(3, 5, 8, seed=2))
    assert not torch.allclose(other, words_after)
    _, seen = encoder(words + random(3, 4, 8, seed=3), TEXT_MASK, patches)
    assert torch.allclose(seen, patches_after) == (wiring == 'cross')
    maps = []
    slow, _ = encoder(words, TEXT_MASK, patches, maps=maps)
    torch.testing.assert_close(slow, words_after)
    size = (3, 2, 9, 9) if wiring == 'single' else (3, 2, 4, 5)
    assert [m.shape for m in maps] == [size] * 2


def test_a_decoder_shares_all_but_self_attention_and_sees_no_later_word():
    from projects.fusion.encoder import FusionEncoder, causal_mask, decoder_of

    options = dict(num_layers=2, embed_dims=8, num_heads=2)
    encoder = FusionEncoder(**options).double()
    decoder = decoder_of(encoder, **options).double()
    shared = {id(p) for p in encoder.parameters()}
    own = [n for n, p in decoder.named_parameters() if id(p) not in shared]
    assert own and all('.own.' in n for n in own)
    states, patches = random(3, 4, 8), random(3, 5, 8, seed=1)
    before, _ = decoder(states, causal_mask(TEXT_MASK), patches)
    states[:, 2] += random(3, 8, seed=5)
    after, _ = decoder(states, causal_mask(TEXT_MASK), patches)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2])


def test_wrong_options_are_errors():
    with pytest.raises(ValueError, match="got 'both'"):
        fusion(wiring='both')
    with pytest.raises(ValueError, match='other_dims=6'):
        fusion(wiring='co', other_dims=6)
    with pytest.raises(ValueError, match='num_heads=3'):
        fusion(num_heads=3)
    with pytest.raises(ValueError, match='mask_id=500'):
        MODELS.build(dict(type='MaskedModelling', embed_dims=8, vocab_size=400, mask_id=500))


def masking(**options):
    torch.manual_seed(0)
    cfg = dict(type='MaskedModelling', embed_dims=8, vocab_size=50, mask_id=4, first_id=5)
    return MODELS.build(cfg | options).double()


def test_hidden_words_by_hand():
    ids = torch.tensor([[2, 10, 11, 12, 3], [2, 20, 3, 0, 0]])
    mask = (ids > 0).long()
    # (place, kind, other): places 0.1 and 0.14 are below 0.15, place 0.0 is [CLS]
    draws = torch.tensor(
        [
            [[0.0, 0, 0], [0.1, 0.79, 0], [0.2, 0, 0], [0.14, 0.85, 0.999], [0, 0, 0], [0, 0, 0]],
            [[0.0, 0, 0], [0.9, 0.95, 0], [0.0, 0, 0], [0.0, 0, 0], [0, 0, 0], [0, 0, 0]],
        ]
    )
    shown, targets = masking().hide_words(ids, mask, draws)
    # 10 becomes [MASK], 12 the last word; 20 is hidden since each text hides one, and stays
    assert shown.tolist() == [[2, 4, 11, 49, 3], [2, 20, 3, 0, 0]]
    assert targets.tolist() == [[-100, 10, -100, 12, -100], [-100, 20, -100, -100, -100]]


def test_shares_of_hidden_words():
    draws = torch.rand(400, 50, 3, generator=torch.Generator().manual_seed(0))
    ids = torch.full((400, 50), 7)
    shown, targets = masking().hide_words(ids, torch.ones_like(ids), draws)
    chosen = targets >= 0
    assert chosen.float().mean() == pytest.approx(0.15, abs=0.01)
    assert (shown[chosen] == 4).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (shown[chosen] == 7).float().mean() == pytest.approx(0.1 + 0.1 / 45, abs=0.02)


def test_loss_of_words_with_a_teacher_is_that_of_loops():
    model = masking()
    targets = torch.tensor([[-100, 7, -100], [9, -100, 8]])
    states = random(2, 3, 8).requires_grad_()
    teacher = random(3, 50, seed=1)
    loss = model.word_loss(model.word_logits(states, targets), targets, teacher, alpha=0.4)
    total = 0
    for k, (b, m) in enumerate([(0, 1), (1, 0), (1, 2)]):
        log_probs = model.words(states[b, m]).log_softmax(dim=-1)
        wanted = 0.4 * teacher[k].softmax(dim=-1)
        wanted[targets[b, m]] += 0.6
        total = total - (wanted * log_probs).sum() / 3
    torch.testing.assert_close(loss, total)
    torch.testing.assert_close(
        torch.autograd.grad(loss, states), torch.autograd.grad(total, states)
    )


def test_hidden_patches():
    model = masking(patch_dims=6)
    tokens, states = random(2, 4, 6).requires_grad_(), random(2, 4, 8, seed=1)
    draws = torch.tensor([[[0.1, 0.5], [0.5, 0], [0.12, 0.95], [0.7, 0]], [[0.9, 0.1]] * 4])
    draws[1, 3, 0] = 0.8  # the least of its picture
    shown, hidden = model.hide_patches(tokens, draws)
    assert hidden.tolist() == [[True, False, True, False], [False, False, False, True]]
    assert (shown[0, 0] == 0).all() and (shown[1, 3] == 0).all()
    assert torch.equal(shown[0, 1:], tokens[0, 1:])
    loss = model.patch_loss(states, tokens, hidden)
    total = 0
    for b, n in ((0, 0), (0, 2), (1, 3)):
        wanted = tokens[b, n].detach()
        wanted = (wanted - wanted.mean()) / (wanted.var(correction=0) + 1e-5).sqrt()
        total = total + (model.patches(states[b, n]) - wanted).square().mean() / 3
    torch.testing.assert_close(loss, total)
    torch.autograd.grad(loss, list(model.patches.parameters()))
    assert not any(p.requires_grad for p in [loss.detach()])
    assert torch.autograd.grad(loss + 0 * tokens.sum(), tokens)[0].abs().max() == 0


def soft_loss_by_loops(logits, targets, soft_logits, alpha, same):
    total = 0
    for i, target in enumerate(targets.tolist()):
        kept = [j for j in range(logits.shape[1]) if j == target or not same[i, j]]
        log_probs = logits[i, kept].log_softmax(dim=0)
        wanted = alpha * soft_logits[i, kept].softmax(dim=0)
        wanted[kept.index(target)] += 1 - alpha
        total = total - (wanted * log_probs).sum() / len(logits)
    return total


def test_soft_contrast_is_that_of_loops():
    """With a queue that holds three rows, one of a product of the batch."""
    from projects.fusion.soft_contrast import PairQueue, soft_contrast

    feats = {k: F.normalize(random(3, 4, seed=s), dim=1).requires_grad_() for s, k in
             enumerate(('image', 'text'))}  # fmt: skip
    teacher = {k: F.normalize(random(3, 4, seed=s + 5), dim=1) for s, k in enumerate(feats)}
    old = [F.normalize(random(3, 4, seed=s + 8), dim=1) for s in range(2)]
    ids, old_ids = torch.tensor([1, 2, 1]), torch.tensor([7, 2, 8])
    queue = PairQueue(5, 4).double()
    queue.later(*old, old_ids)()
    scale = torch.tensor(3.0).double()
    loss, acc, write = soft_contrast(feats, teacher, queue, ids, torch.arange(3), scale, 0.4)
    same = ids[:, None] == torch.cat([ids, old_ids])
    total = 0
    for own, other, rows in (('image', 'text', old[1]), ('text', 'image', old[0])):
        others = torch.cat([teacher[other], rows])
        total = total + soft_loss_by_loops(
            3 * feats[own] @ others.T, torch.arange(3), 3 * teacher[own] @ others.T, 0.4, same
        ) / 2  # fmt: skip
    torch.testing.assert_close(loss, total)
    both = list(feats.values())
    torch.testing.assert_close(torch.autograd.grad(loss, both), torch.autograd.grad(total, both))
    assert 0 <= acc <= 1 and int(queue.ring.num_seen) == 3  # nothing is written before
    write()
    # six rows in a queue of five: the first is overwritten, and the last row wraps around
    assert queue.ring.ids.tolist() == [1, 2, 8, 1, 2]
    other = PairQueue(5, 4).double()
    other.load_state_dict(queue.state_dict())
    torch.testing.assert_close(other.extend(*old, old_ids), queue.extend(*old, old_ids))


def test_draws_depend_on_step_and_name_and_not_on_the_number_of_ranks(monkeypatch):
    from projects.fusion import draws

    sample = draws.StepDraws(seed=3)
    whole = sample('words', 7, 6, 1, 4)
    assert torch.equal(whole, sample('words', 7, 6, 1, 4))
    for name, step in (('words', 8), ('patches', 7)):
        assert not torch.equal(whole, sample(name, step, 6, 1, 4))
    assert not torch.equal(whole, draws.StepDraws(seed=4)('words', 7, 6, 1, 4))
    monkeypatch.setattr(draws, 'local_rows', lambda size: slice(1, 2 * size, 2))  # rank 1 of 2
    assert torch.equal(sample('words', 7, 3, 2, 4), whole[1::2])


def test_grad_cam_by_hand():
    from projects.fusion.grad_cam import grad_cam

    attention = torch.tensor([[[[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]]], requires_grad=True)
    weights = torch.tensor([[[[2.0, 1.0], [-1.0, 3.0], [9.0, 9.0]]]])

    def score(maps):
        maps.append(attention)
        return (attention * weights).sum(dim=(1, 2, 3))

    # word 0: 0.4, 0.8; word 1: 0 (its gradient is negative), 1.5; word 2 is padding
    found = grad_cam(score, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(found, torch.tensor([[0.2, 1.15]]))


def test_grad_cam_of_frozen_weights():
    from projects.fusion.grad_cam import grad_cam

    encoder = fusion().requires_grad_(False)
    words, patches = random(3, 4, 8), random(3, 5, 8, seed=1)
    with torch.no_grad():
        found = grad_cam(
            lambda maps: encoder(words, TEXT_MASK, patches, maps=maps)[0][:, 0].sum(dim=1),
            TEXT_MASK,
        )
    assert found.shape == (3, 5) and (found >= 0).all() and found.sum() > 0


def test_rerank_by_hand():
    from projects.fusion.two_stage import rerank

    ranked = np.array([[3, 1, 0, 2]])
    cosine = np.array([[0.9, 0.5, 0.4, 0.1]])
    scores = np.array([5.0, 1.0, 9.0, 1.0])  # of the gallery items
    args = ranked, cosine, lambda q, g: scores[g]
    assert rerank(*args, k=3).tolist() == [[0, 3, 1, 2]]  # 3 and 1 tie; 2 is behind the first 3
    assert rerank(ranked, cosine, lambda q, g: -0.1 * scores[g], 4, 1.0).tolist() == [[3, 1, 0, 2]]


class Matcher(torch.nn.Module):
    """Matches the first number of a picture's states with that of the text's."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def match(self, images, texts, mask):
        assert mask.dtype == torch.bool and (texts[~mask] == 0).all()
        return -(images[:, 0, 0] - texts[:, 0, 0]).abs()


def test_both_stages_are_measured():
    from projects.fusion.two_stage import IMAGE_STATES, TEXT_STATES

    metric = METRICS.build(dict(type='TwoStageRetrieval', topk=(1,), k_match=2, batch_size=2))
    # by cosine, text 1 is the nearest of all pictures; matching tells them apart
    texts = torch.tensor([[1.0, 0.2], [1.0, 0.0], [0.0, 1.0]])
    for k in range(3):
        sample = dict(product_id=f'p{k}', text=f't{k}', split='')
        sample.update(pred_image_feat=torch.tensor([1.0, 0.0]), pred_text_feat=texts[k])
        sample[IMAGE_STATES] = torch.full((2, 1), float(k))
        sample[TEXT_STATES] = torch.full((1 + k, 1), float(k))
        metric.process(None, [sample])
    with pytest.raises(RuntimeError, match='MatchingHook'):
        metric.measure(metric.results)
    metric.model = Matcher()
    figures = metric.measure(metric.results)
    assert figures['i2t_R@1'] == pytest.approx(1 / 3)
    # text 2 is not among the first two of picture 2
    assert figures['i2t_matched_R@1'] == pytest.approx(2 / 3)
    # pictures tie by cosine: the first two are matched, and picture 2 is not among them
    assert figures['t2i_matched_R@1'] == pytest.approx(2 / 3)
    assert set(figures) >= metric.figure_names()
