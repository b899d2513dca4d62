"""Which parameters decay, and bf16 on any device."""

import pytest
import torch

from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from eclip_mm.testing import tiny_model_config
from helpers.runs import make_runner

WRAPPER = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
SWIN = dict(
    type='TransformersImageEncoder',
    model_type='swin',
    config=dict(
        embed_dim=8, depths=[1, 1], num_heads=[2, 2], image_size=32, patch_size=4, window_size=2
    ),
)
DINO = dict(
    type='TransformersImageEncoder',
    model_type='dinov2_with_registers',
    config=dict(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    ),
)


def groups(model, **paramwise):
    """(decaying, not decaying) names by what is really in the optimiser."""
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='PretrainOptimWrapperConstructor',
            optim_wrapper_cfg=WRAPPER,
            paramwise_cfg=paramwise,
        )
    )(model)
    decay, keep = wrapper.optimizer.param_groups
    assert decay['weight_decay'] == 0.05 and keep['weight_decay'] == 0.0
    names = {id(param): name for name, param in model.named_parameters()}
    return [{names[id(param)] for param in group['params']} for group in (decay, keep)]


def test_norms_biases_and_embeddings_of_positions_do_not_decay():
    model = MODELS.build(tiny_model_config())
    decay, keep = groups(model)
    encoder, text = 'network.image_encoder.model.', 'network.text_encoder.model.'
    assert {
        f'{encoder}embeddings.cls_token',
        f'{encoder}embeddings.position_embeddings',
        f'{text}embeddings.position_embeddings.weight',
        f'{text}embeddings.token_type_embeddings.weight',
        f'{text}embeddings.LayerNorm.weight',
        'network.queries.pos_embed',
        'network.queries.type_embed',
        'logit_scale',
        'network.decoder.norm_out.weight',
        'network.image_proj.bias',
        'heads.itm.classifier.bias',
    } <= keep
    assert {
        f'{text}embeddings.word_embeddings.weight',
        'network.image_proj.weight',
        f'{encoder}embeddings.patch_embeddings.projection.weight',
        'network.decoder.blocks.0.self_attn.in_proj_weight',
        'heads.itm.classifier.weight',
    } <= decay
    assert not any(name.endswith('bias') or 'norm' in name.lower() for name in decay)
    # each trained parameter once, nothing of the momentum model
    trained = {n for n, _ in model.named_parameters() if not n.startswith('teacher.')}
    assert decay | keep == trained and not decay & keep


@pytest.mark.parametrize(
    'encoder, name',
    [
        (SWIN, 'relative_position_bias_table'),
        (DINO, 'register_tokens'),
        (DINO, 'cls_token'),
    ],
)
def test_position_parameters_of_other_encoders_do_not_decay(encoder, name):
    model = MODELS.build(tiny_model_config(image_encoder=encoder))
    decay, keep = groups(model)
    assert any(n.endswith(name) for n in keep) and not any(n.endswith(name) for n in decay)


def test_what_nothing_uses_is_not_trained():
    """The mask token of masked pretraining gets no gradient: DDP would wait for it."""
    decay, keep = groups(MODELS.build(tiny_model_config(image_encoder=DINO)))
    assert not any('mask_token' in name for name in decay | keep)


def test_a_user_may_name_more_parameters():
    decay, keep = groups(MODELS.build(tiny_model_config()), no_decay=[r'word_embeddings'])
    assert any('word_embeddings' in n for n in keep) and not any('word_emb' in n for n in decay)


def test_a_misspelt_paramwise_key_is_an_error():
    with pytest.raises(KeyError, match='no_dekay.*known: no_decay'):
        PretrainOptimWrapperConstructor(WRAPPER, dict(no_dekay=[]))


@pytest.mark.slow
def test_bf16_trains_on_cpu(tmp_path):
    runner = make_runner(
        tmp_path,
        optim_wrapper=dict(
            type='BF16OptimWrapper',
            constructor='PretrainOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-3),
            clip_grad=dict(max_norm=1.0),
        ),
    )
    seen = []
    runner.model.network.image_proj.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    before = {n: p.detach().clone() for n, p in runner.model.named_parameters()}
    runner.train()
    assert torch.bfloat16 in seen
    for name, param in runner.model.named_parameters():
        assert param.dtype == torch.float32 and param.isfinite().all(), name
    changed = {n for n, p in runner.model.named_parameters() if not torch.equal(p, before[n])}
    assert {'network.image_proj.weight', 'logit_scale', 'network.queries.pos_embed'} <= changed
