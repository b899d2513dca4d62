"""The whole model on fake batches."""

import copy

import pytest
import torch

from eclip_mm.models.decoders import IMAGE
from eclip_mm.models.distractors import with_distractors
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from eclip_mm.utils.finite import NonFiniteLossError


def build(**overrides):
    torch.manual_seed(0)
    return MODELS.build(tiny_model_config(**overrides))


def losses(model, batch):
    return model(**model.data_preprocessor(batch), mode='loss')


def heads_of(*names):
    heads = tiny_model_config()['pretext_heads']
    return {name: cfg if name in names else None for name, cfg in heads.items()}


def test_all_terms_are_there_and_train_the_right_weights():
    model = build()
    terms = losses(model, fake_batch())
    assert {k for k in terms if 'loss' in k} == {
        'loss_itc',
        'loss_inter',
        'loss_itm',
        'loss_intra',
        'loss_entropy',
    }
    assert {k for k in terms if 'loss' not in k} == {
        'itc_acc',
        'inter_acc',
        'itm_acc',
        'intra_acc',
        'logit_scale',
        'slot_mass',
        'slot_entropy',
        'slot_dead',
    }
    sum(v for k, v in terms.items() if 'loss' in k).backward()
    for name, param in model.named_parameters():
        if name.startswith('teacher.'):
            assert not param.requires_grad and param.grad is None, name
        else:
            assert param.grad is not None and param.grad.isfinite().all(), name


@pytest.mark.parametrize(
    'off, gone',
    [
        ('inter', {'loss_inter'}),
        ('itm', {'loss_itm'}),
        ('intra', {'loss_intra', 'loss_entropy'}),
        ('itc', {'loss_itc'}),
    ],
)
def test_each_pretext_task_can_be_switched_off(off, gone):
    heads = heads_of(*({'itc', 'inter', 'itm', 'intra'} - {off}))
    terms = losses(build(pretext_heads=heads), fake_batch())
    every = {'loss_itc', 'loss_inter', 'loss_itm', 'loss_intra', 'loss_entropy'}
    assert {k for k in terms if 'loss' in k} == every - gone


def test_without_pretext_heads_it_is_clip():
    model = build(pretext_heads=heads_of('itc'))
    assert model.teacher is None and model.network.decoder is None
    assert set(losses(model, fake_batch())) == {'loss_itc', 'itc_acc', 'logit_scale'}
    batch = fake_batch(num_images=1)
    samples = model.eval()(**model.data_preprocessor(batch), mode='predict')
    assert torch.equal(samples[0].pred_instance_feat, samples[0].pred_image_feat)
    assert samples[0].pred_score_map.shape == (4, 4)


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match='switches every task off'):
        build(pretext_heads=heads_of())


def test_a_misspelt_head_to_switch_off_is_an_error():
    with pytest.raises(KeyError, match="'intra'"):
        build(pretext_heads=dict(tiny_model_config()['pretext_heads'], intr=None))


def test_a_misspelt_argument_names_itself():
    with pytest.raises(TypeError, match='num_block'):
        build(decoder=dict(type='InstanceDecoder', num_block=2))
    with pytest.raises(KeyError, match='hidden_sise'):
        build(
            image_encoder=dict(
                type='TransformersImageEncoder', model_type='vit', config=dict(hidden_sise=8)
            )
        )


def test_predictions_do_not_depend_on_the_batch():
    model = build().eval()
    batch = fake_batch(num_images=1)
    together = [copy.deepcopy(s) for s in model(**model.data_preprocessor(batch), mode='predict')]
    one = dict(
        inputs={k: v[2:3] for k, v in batch['inputs'].items()},
        data_samples=batch['data_samples'][2:3],
    )
    alone = model(**model.data_preprocessor(one), mode='predict')[0]
    for name in ('pred_image_feat', 'pred_text_feat', 'pred_instance_feat', 'pred_score_map'):
        # float32, other blocking of the matrix products
        torch.testing.assert_close(
            getattr(alone, name), getattr(together[2], name), rtol=1e-4, atol=1e-5
        )
    assert alone.pred_instance_feat.norm().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize('tasks', [('itc', 'inter', 'itm', 'intra'), ('itc',)])
def test_a_second_picture_is_an_image_prompt(tasks):
    """The momentum model encodes it as in training, or the model itself if there is none."""
    model = build(pretext_heads=heads_of(*tasks)).eval()
    network = model.network
    if model.teacher is not None:
        network = model.teacher.network
        with torch.no_grad():
            network.image_proj.weight.mul_(-1)  # make the two differ
    batch = model.data_preprocessor(fake_batch())
    inputs, samples = batch['inputs'], model(**batch, mode='predict')
    with torch.no_grad():
        _, tokens, grid = model.network.encode_image(inputs['images'][:, 0])
        prompts, _, _ = network.encode_image(inputs['images'][:, 1])
        _, wanted = model.locate(tokens, grid, prompts, IMAGE)
        _, as_text = model.locate(tokens, grid, prompts)
    found = torch.stack([s.pred_image_prompt_map for s in samples])
    torch.testing.assert_close(found, wanted)
    assert torch.equal(as_text, wanted) == (tasks == ('itc',)), (
        'the decoder distinguishes modalities'
    )
    batch = fake_batch()
    batch['inputs']['images'] = batch['inputs']['images'][:, :1]
    single = model(**model.data_preprocessor(batch), mode='predict')[0]
    assert 'pred_image_prompt_map' not in single
    torch.testing.assert_close(single.pred_score_map, samples[0].pred_score_map)


def test_distractors_join_the_tokens_in_training_only():
    tokens = (
        torch.arange(3.0)[:, None, None] + torch.tensor([0.0, 0.1])[None, :, None]
    )  # (3, 2, 1)
    joined = with_distractors(tokens, 1)[..., 0]
    torch.testing.assert_close(
        joined,
        torch.tensor([[0.0, 0.1, 1.0, 1.1], [1.0, 1.1, 2.0, 2.1], [2.0, 2.1, 0.0, 0.1]]),
    )
    assert with_distractors(tokens, 0) is not tokens
    assert torch.equal(with_distractors(tokens, 0), tokens)
    with pytest.raises(ValueError, match='lower it or raise train_dataloader.batch_size'):
        with_distractors(tokens, 3)
    with pytest.raises(ValueError, match='set only one of them'):
        build(num_distractors=1, chunk_size=2)

    plain, mixed = build().eval(), build(num_distractors=2).eval()
    batch = fake_batch()
    before, after = losses(plain, batch), losses(mixed, batch)
    assert before['loss_itc'] == after['loss_itc']  # encoders see whole pictures
    assert before['loss_intra'] != after['loss_intra']
    with torch.no_grad():
        a, b = (m(**m.data_preprocessor(fake_batch()), mode='predict')[0] for m in (plain, mixed))
    assert torch.equal(a.pred_score_map, b.pred_score_map)


def test_padding_of_texts_changes_nothing():
    model = build().eval()
    batch = fake_batch(num_images=1)
    inputs = model.data_preprocessor(batch)['inputs']
    feats = model(inputs)[1]
    pad = torch.nn.functional.pad
    wider = dict(
        inputs,
        input_ids=pad(inputs['input_ids'], (0, 5)),
        attention_mask=pad(inputs['attention_mask'], (0, 5)),
    )
    torch.testing.assert_close(model(wider)[1], feats, rtol=1e-4, atol=1e-5)


def test_prompts_follow_the_step_and_the_step_is_saved():
    model = build()
    batch = fake_batch()
    first, second = losses(model, batch), losses(model, batch)
    assert first['loss_intra'] != second['loss_intra']
    model.finish_step()
    fresh = build()
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(
        losses(fresh, batch)['loss_intra'], losses(model, batch)['loss_intra'], rtol=0, atol=0
    )


def test_teacher_follows_by_the_formula():
    model = build(momentum=dict(type='MomentumTeacher', momentum=0.9, schedule='constant'))
    name, param = 'image_proj.weight', model.network.image_proj.weight
    before = dict(model.teacher.network.named_parameters())[name].clone()
    with torch.no_grad():
        param.add_(1.0)
    model.update_teacher(progress=0.3)
    after = dict(model.teacher.network.named_parameters())[name]
    torch.testing.assert_close(after, 0.9 * before + 0.1 * param)
    assert model.train().teacher.training is False


def test_momentum_rises_to_one_on_a_half_cosine():
    teacher = build().teacher
    assert teacher.momentum_at(0.0) == pytest.approx(0.99)
    assert teacher.momentum_at(0.5) == pytest.approx(0.995)
    assert teacher.momentum_at(1.0) == 1.0


def test_a_non_finite_loss_names_term_and_products():
    model = build()
    with torch.no_grad():
        model.heads['itm'].classifier.weight.fill_(float('nan'))
    with pytest.raises(NonFiniteLossError, match=r"loss_itm of this rank.*'p0-0', 'p0-1'"):
        losses(model, fake_batch())


def test_bf16_autocast_stays_close():
    batch = fake_batch()
    exact = losses(build(), batch)
    with torch.autocast('cpu', torch.bfloat16):
        rough = losses(build(), batch)
    for name in exact:
        if 'loss' in name:
            assert rough[name].dtype == torch.float32
            # bf16 has 8 bits: 0.4% a rounding, a few dozen in a row
            torch.testing.assert_close(rough[name], exact[name], rtol=0.05, atol=0.05)


def test_the_logit_scale_comes_back_from_its_limit():
    """After a clamp in the forward pass the gradient would stay 0."""
    model = build(init_logit_scale=500.0)
    terms = losses(model, fake_batch())
    assert terms['logit_scale'].item() == pytest.approx(100)
    terms['loss_itc'].backward()
    assert model.logit_scale.grad.abs() > 0


def test_accuracy_counts_the_products_other_samples_as_right():
    from eclip_mm.models.heads.base import accuracy

    logits, same = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[True, True, False]])
    assert accuracy(logits, torch.tensor([0])) == 0
    assert accuracy(logits, torch.tensor([0]), same) == 1


def test_score_map_blocks_are_checked_at_build():
    with pytest.raises(ValueError, match='score_map_blocks'):
        build(score_map_blocks=[2])


def test_boxes_stay_on_the_cpu():
    """Metrics read them there; the preprocessor moves pictures and texts only."""
    batch = fake_batch()
    out = build().data_preprocessor(batch)
    assert out['data_samples'][0] is batch['data_samples'][0]
