"""A checkpoint needs no file of its training: architecture and vocabulary are in it."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from eclip_mm.checkpoint.metadata import (
    encoder_architectures,
    known_fields,
    last_checkpoint,
    read_saved_config,
    use_resumed_checkpoint,
    use_saved_architecture,
    use_saved_tokenizer,
)
from eclip_mm.checkpoint.old_pooling import check_old_rules
from eclip_mm.datasets import build_tokenizer
from eclip_mm.datasets.checkpoint_tokenizer import (
    CheckpointTokenizer,
    check_tokenizer,
    tokenizer_state,
)
from eclip_mm.engine.checkpoint_hooks import PlainCheckpointHook
from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers import towers
from helpers.runs import make_runner

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']


def tokenizer_at(folder, *words):
    """Config of a tokenizer with a vocabulary of these words."""
    path = folder / f'{len(words)}.txt'
    path.write_text('\n'.join([*SPECIAL, *words]) + '\n')
    return dict(type='CatalogueWordPiece', vocab_file=str(path))


def training(tokenizer, **others):
    pipeline = [dict(type='Resize'), dict(type='TokenizeText', tokenizer=tokenizer)]
    return dict(train_dataloader=dict(dataset=dict(type='D', pipeline=pipeline)), **others)


@pytest.mark.parametrize(
    'encoder, config',
    [
        (
            TransformersTextEncoder,
            dict(vocab_size=77, hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
        ),
        (
            TransformersImageEncoder,
            dict(image_size=32, hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
        ),
    ],
)
def test_the_architecture_of_a_folder_is_stored_completely(tmp_path, encoder, config):
    kind = 'bert' if encoder is TransformersTextEncoder else 'dinov2_with_registers'
    encoder(kind, config).model.half().save_pretrained(tmp_path)
    name = 'text_encoder' if kind == 'bert' else 'image_encoder'
    cfg = dict(type='T', pretrained=str(tmp_path), config=dict(attention_probs_dropout_prob=0.25))
    given = {key: value for key, value in cfg.items() if key != 'type'}
    ours = encoder(kind, given['config'], given['pretrained'])
    found = encoder_architectures(SimpleNamespace(network=SimpleNamespace(**{name: ours})))
    assert list(found) == [name] and found[name]['model_type'] == kind
    model = {name: copy.deepcopy(cfg)}
    use_saved_architecture(model, dict(encoders=found))
    assert model[name]['pretrained'] is None
    again = encoder(model[name]['model_type'], model[name]['config'])
    assert again.model.config.attention_probs_dropout_prob == 0.25
    shapes = [{k: v.shape for k, v in e.state_dict().items()} for e in (ours, again)]
    assert shapes[0] == shapes[1]
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    again.load_state_dict(ours.state_dict())


def test_a_config_without_initial_weights_is_left_alone():
    model = dict(image_encoder=dict(config=dict(depth=3), pretrained=None), embed_dims=8)
    before = copy.deepcopy(model)
    use_saved_architecture(model, dict(encoders=dict(image_encoder=dict(config={}))))
    use_saved_architecture(model, {})
    assert model == before


@pytest.mark.parametrize(
    'model_type, pooling',
    [('convnext', 'mean'), ('clip_vision_model', 'cls'), ('siglip_vision_model', 'mean')],
)
def test_an_old_checkpoint_keeps_the_features_that_it_was_trained_with(
    model_type, pooling, tmp_path
):
    model = tiny_model_config()
    model['image_encoder'] = dict(
        type='TransformersImageEncoder', model_type=model_type, config=towers.IMAGE[model_type]
    )
    mpnet = dict(model_type='mpnet', config=towers.TEXT['mpnet'])
    model['text_encoder'] = dict(type='TransformersTextEncoder', **mpnet)
    built = MODELS.build(copy.deepcopy(model)).eval()
    encoders = encoder_architectures(built)
    del encoders['model'], encoders['image_encoder']['pooling']
    for option in ('pooling', 'padding', 'use_mask'):
        del encoders['text_encoder'][option]
    meta = dict(cfg=f'model = {model!r}', encoders=encoders)
    torch.save(dict(state_dict=built.state_dict(), meta=meta), tmp_path / 'old.pth')

    again = MODELS.build(read_saved_config(tmp_path / 'old.pth')['model']).eval()
    again.load_state_dict(built.state_dict())
    images, (ids, mask) = torch.randn(2, 3, 32, 32), towers.texts()
    encoder = again.network.image_encoder
    tokens = encoder.model(images).last_hidden_state
    wanted = tokens[:, 0] if pooling == 'cls' else tokens.mean((2, 3) if tokens.ndim == 4 else 1)
    torch.testing.assert_close(encoder(images)[0], wanted)
    text_encoder = again.network.text_encoder
    first = text_encoder.model(ids, attention_mask=mask).last_hidden_state[:, 0]
    torch.testing.assert_close(text_encoder(ids, mask), first, rtol=1e-5, atol=1e-5)

    check_old_rules(again, encoders)
    with pytest.raises(ValueError, match=f"Set model.image_encoder.pooling='{pooling}'"):
        check_old_rules(built, encoders)
    chosen = copy.deepcopy(model)
    chosen['image_encoder']['pooling'] = 'mean_norm'
    use_saved_architecture(chosen, dict(encoders=encoders))
    assert chosen['image_encoder']['pooling'] == 'mean_norm'


@pytest.mark.slow
def test_real_checkpoints_hold_both_encoders(tmp_path):
    runner = make_runner(tmp_path)
    runner.train()
    meta = torch.load(tmp_path / 'iter_4.pth', weights_only=True)['meta']
    assert set(meta['encoders']) == {'image_encoder', 'text_encoder', 'model'}
    vocab_size = runner.model.network.text_encoder.vocab_size
    assert meta['encoders']['text_encoder']['config']['vocab_size'] == vocab_size
    assert meta['tokenizer'] is None  # its fake products come as ids


@pytest.fixture
def checkpoint(tmp_path):
    """Of a training with the words red and mug, whose vocabulary file is gone by now."""
    cfg = training(tokenizer_at(tmp_path, 'red', 'mug'))
    state = tokenizer_state(cfg)
    (tmp_path / '2.txt').unlink()
    text = (
        "model = dict(type='E', text_encoder=dict(type='T', pretrained='gone'), compile=True)\n"
        "test_pipeline = [dict(type='TokenizeText', tokenizer=dict(type='X'), max_length=7)]\n"
    )
    encoder = dict(model_type='bert', config=dict(vocab_size=7))
    meta = dict(cfg=text, tokenizer=state, encoders=dict(text_encoder=encoder))
    torch.save(dict(state_dict={}, meta=meta), tmp_path / 'c.pth')
    return tmp_path / 'c.pth'


def test_a_saved_config_stands_alone(checkpoint):
    saved = read_saved_config(checkpoint)
    encoder = dict(type='T', pretrained=None, model_type='bert', config=dict(vocab_size=7))
    assert saved['model'] == dict(type='E', text_encoder=encoder)  # no model compiles itself now
    (text,) = saved['test_pipeline']
    assert text['max_length'] == 7
    tokenizer = build_tokenizer(text['tokenizer'])
    assert isinstance(tokenizer, CheckpointTokenizer) and 'c.pth' in repr(tokenizer)
    assert tokenizer('mug, red') == [2, 6, 1, 5, 3]
    assert tokenizer('mug, red', max_length=4) == [2, 6, 1, 3]


def test_a_training_resumes_with_what_its_checkpoint_has(checkpoint, tmp_path):
    gone = dict(type='CatalogueWordPiece', vocab_file='gone.txt')
    cfg = Config(
        training(
            gone,
            model=dict(text_encoder=dict(pretrained='gone')),
            custom_hooks=[dict(type='ClassPromptHook', tokenizer=gone)],
            load_from=str(checkpoint),
            work_dir=str(tmp_path),
        )
    )
    use_resumed_checkpoint(cfg)
    assert cfg.model.text_encoder.pretrained is None
    wanted = dict(type='CheckpointTokenizer', checkpoint=str(checkpoint))
    assert cfg.train_dataloader.dataset.pipeline[1].tokenizer == wanted
    assert cfg.custom_hooks[0].tokenizer == wanted
    # a checkpoint written from now on holds the same
    assert (
        tokenizer_state(cfg)['fingerprint']
        == tokenizer_state(training(tokenizer_at(tmp_path, 'red', 'mug')))['fingerprint']
    )
    assert cfg.load_from == str(checkpoint)
    # without a checkpoint the config stays as it is
    (tmp_path / 'new').mkdir()
    cfg = Config(training(gone, load_from=None, work_dir=str(tmp_path / 'new'), model={}))
    use_resumed_checkpoint(cfg)
    assert cfg.train_dataloader.dataset.pipeline[1].tokenizer == gone


def test_a_copied_folder_resumes_from_its_own_checkpoint(tmp_path):
    old, new = tmp_path / 'old', tmp_path / 'new'
    for folder in (old, new):
        folder.mkdir()
        assert last_checkpoint(folder) is None
    (old / 'epoch_3.pth').touch()
    for folder in (old, new):
        (folder / 'last_checkpoint').write_text(f'{old}/epoch_3.pth')
        assert last_checkpoint(folder) == old / 'epoch_3.pth'  # it may be stored elsewhere
    (new / 'epoch_3.pth').touch()
    assert last_checkpoint(str(new)) == new / 'epoch_3.pth'


def test_another_vocabulary_is_refused(tmp_path):
    meta = dict(tokenizer=tokenizer_state(training(tokenizer_at(tmp_path, 'red', 'mug'))))
    check_tokenizer(training(tokenizer_at(tmp_path, 'red', 'mug')), meta)
    swapped = tmp_path / 'swapped'
    swapped.mkdir()
    with pytest.raises(ValueError, match=r'swapped/2\.txt.*another vocabulary.*catalogue'):
        check_tokenizer(training(tokenizer_at(swapped, 'mug', 'red')), meta)
    check_tokenizer(training(tokenizer_at(swapped, 'mug', 'red')), {})  # an old checkpoint
    check_tokenizer(training(str.split), meta)  # does not tell its words


def test_the_hook_checks_the_vocabulary_of_what_runs(tmp_path):
    runner = make_runner(tmp_path)
    meta = dict(tokenizer=tokenizer_state(training(tokenizer_at(tmp_path, 'red', 'mug'))))
    other = training(tokenizer_at(tmp_path, 'red'))['train_dataloader']
    runner.cfg = Config(dict(test_dataloader=other, train_dataloader=other))
    hook = PlainCheckpointHook()
    meta.update(epoch=0, iter=0)
    checkpoint = dict(state_dict=runner.model.state_dict(), optimizer={}, message_hub={})
    with pytest.raises(ValueError, match='another vocabulary'):
        hook.after_load_checkpoint(runner, dict(checkpoint, meta=dict(meta)))
    runner._load_from = 'weights.pth'  # a new training from these weights may have another one
    hook.after_load_checkpoint(runner, dict(checkpoint, meta=dict(meta)))
    runner._resume = True
    with pytest.raises(ValueError, match='another vocabulary'):
        hook.after_load_checkpoint(runner, dict(checkpoint, meta=dict(meta)))


def test_old_checkpoints_are_recognised(tmp_path):
    cfg = training(dict(type='X'))
    assert not use_saved_tokenizer(cfg, {}, 'old.pth')
    assert cfg == training(dict(type='X'))
    assert use_saved_tokenizer(dict(model={}), {}, 'old.pth')  # nothing to tokenize
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'old.pth')
    with pytest.raises(ValueError, match=r'old\.pth holds no tokenizer'):
        CheckpointTokenizer(str(tmp_path / 'old.pth'))


def test_two_tokenizers_in_a_training_are_not_kept(tmp_path):
    cfg = training(tokenizer_at(tmp_path, 'red'))
    cfg['train_dataloader']['dataset']['pipeline'].append(
        dict(type='TokenizeText', tokenizer=tokenizer_at(tmp_path, 'red', 'mug'))
    )
    assert tokenizer_state(cfg) is None
    assert tokenizer_state({}) is None and tokenizer_state(dict(train_dataloader=None)) is None


def test_fields_of_other_programs_are_left_out():
    """all-MiniLM-L6-v2's config file has them, and a config with them could not be built."""
    fields = dict(hidden_size=384, gradient_checkpointing=False, of_another_program=1)
    assert known_fields('bert', fields) == dict(hidden_size=384)
    assert known_fields('no_such_model', fields) == fields
    meta = dict(encoders=dict(text_encoder=dict(model_type='bert', config=fields)))
    model = dict(text_encoder=dict(pretrained='checkpoints/x', config=dict(num_hidden_layers=2)))
    use_saved_architecture(model, meta)
    assert model['text_encoder']['config'] == dict(hidden_size=384, num_hidden_layers=2)
