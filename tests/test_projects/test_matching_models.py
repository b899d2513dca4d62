"""projects/albef and projects/blip: losses against loops, two processes, resuming, trainings."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from eclip_mm.config.loading import load_config
from eclip_mm.registry import MODELS
from eclip_mm.testing import end_rank, fake_batch, tiny_model_config
from helpers.figures import logged
from helpers.processes import start_ranks

KINDS = ['ALBEF', 'BLIP']
BATCH = 8


def register():
    import projects.albef.albef
    import projects.blip.blip  # noqa: F401


@pytest.fixture(scope='module', autouse=True)
def project(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        register()
        yield


def config(kind, dropout=0.0, **overrides):
    cfg = tiny_model_config(
        type=kind,
        fusion=dict(num_layers=2, num_heads=4, dropout=dropout),
        momentum=dict(type='MomentumTeacher', momentum=0.9, schedule='constant'),
    )
    cfg['pretext_heads'] = dict(
        itc=dict(type='SoftContrastHead', queue_size=11), itm=dict(type='FusionMatchingHead')
    )
    if kind == 'ALBEF':
        cfg['masking'] = dict(mask_id=4, first_id=5)
        cfg['pretext_heads']['words'] = dict(type='FusedWordsHead')
    else:
        cfg['pretext_heads']['captions'] = dict(type='CaptionHead')
    cfg.update(overrides)
    return cfg


def build(kind, **options):
    torch.manual_seed(0)
    model = MODELS.build(config(kind, **options))
    with torch.no_grad():  # a teacher that is not the network
        for param in model.teacher.parameters():
            param.add_(torch.randn_like(param), alpha=0.02)
    return model


def double(model, batch):
    model.double().data_preprocessor.double()
    data = model.data_preprocessor(batch)
    data['inputs']['images'] = data['inputs']['images'].double()
    return data


def total(terms):
    return sum(value for name, value in terms.items() if 'loss' in name)


@pytest.mark.parametrize('kind', KINDS)
def test_matching_is_that_of_loops_value_and_gradient(kind):
    model = build(kind)
    batch = fake_batch(5)
    batch['data_samples'][3].set_metainfo(dict(product_id=batch['data_samples'][0].product_id))
    data = double(model, batch)
    outputs = model.extract(**data)
    head, network = model.heads['itm'], model.network
    texts, images = head.draw_negatives(outputs)
    same = outputs.id_hash[:, None] == outputs.id_hash
    for drawn in (texts, images):
        assert not same[torch.arange(5), drawn].any()
    loss = head.loss(outputs)['loss_itm']
    slow = 0
    for k in range(5):
        for text, image, label in ((k, k, 1), (texts[k], k, 0), (k, images[k], 0)):
            length = int(outputs.word_mask[text].sum())  # a text alone, without padding
            words = outputs.words[text, :length][None]
            logits = network.match(
                words, torch.ones(1, length, dtype=torch.bool), outputs.patches[image][None]
            )
            slow = slow - logits[0].log_softmax(dim=0)[label] / 15
    torch.testing.assert_close(loss, slow)
    weights = [network.fusion.layers[0].cross.key.weight, network.text_proj.weight]
    found, wanted = (
        torch.autograd.grad(x, weights, retain_graph=True, allow_unused=True) for x in (loss, slow)
    )
    torch.testing.assert_close(found[0], wanted[0])
    assert found[1] is None and wanted[1] is None  # drawing gives no gradient


def test_masked_words_learn_from_the_teacher():
    model = build('ALBEF', alpha=0.3)
    outputs = model.extract(**double(model, fake_batch(4)))
    found = model.heads['words'].loss(outputs)['loss_mlm']
    masking = model.network.masking
    shown, targets = masking.hide_words(
        outputs.input_ids, outputs.word_mask, model.prompts('words', 0, 4, 1, 512, 3)
    )
    losses = []
    for k in range(4):
        logits = []
        for network, patches in (
            (model.network, outputs.patches),
            (model.teacher.network, outputs.teacher_patches),
        ):
            length = int(outputs.word_mask[k].sum())
            ids, mask = shown[k : k + 1, :length], torch.ones(1, length, dtype=torch.bool)
            words = network.text_encoder.encode_tokens(ids, mask.long())
            states = network.fuse(words, mask, patches[k : k + 1])
            logits.append(network.masking.words(states[0]))
        for place in (targets[k] >= 0).nonzero().flatten().tolist():
            log_probs = logits[0][place].log_softmax(dim=0)
            wanted = 0.3 * logits[1][place].softmax(dim=0)
            wanted[targets[k, place]] += 0.7
            losses.append(-(wanted.detach() * log_probs).sum())
    torch.testing.assert_close(found, sum(losses) / len(losses))


def test_captions_are_those_of_loops():
    model = build('BLIP')
    outputs = model.extract(**double(model, fake_batch(3)))
    found = model.heads['captions'].loss(outputs)['loss_lm']
    losses = []
    for k in range(3):
        length = int(outputs.word_mask[k].sum())
        for size in range(1, length):  # each beginning of each text, alone
            ids = outputs.input_ids[k : k + 1, :size]
            logits = model.network.caption_logits(
                ids, torch.ones_like(ids, dtype=torch.bool), outputs.patches[k : k + 1]
            )[0, -1]
            wanted = torch.full((100,), 0.1 / 100, dtype=torch.double)
            wanted[outputs.input_ids[k, size]] += 0.9
            losses.append(-(wanted * logits.log_softmax(dim=0)).sum())
    torch.testing.assert_close(found, sum(losses) / len(losses))
    weight = model.network.decoding.layers[0].own.query.weight
    torch.testing.assert_close(
        torch.autograd.grad(found, weight, retain_graph=True),
        torch.autograd.grad(sum(losses) / len(losses), weight),
    )


def test_blip_writes_until_the_end():
    model = build('BLIP').eval()
    images = model.data_preprocessor(fake_batch(2))['inputs']['images'][:, 0]
    with torch.no_grad():
        model.network.caption[-1].bias[7] = 99.0
    assert model.network.write(images, end_id=7).tolist() == [[7], [7]]
    assert model.network.write(images, end_id=3, max_words=4).tolist() == [[7] * 4] * 2
    with pytest.raises(ValueError, match='raise model.max_length'):
        ids = torch.ones(1, 65, dtype=torch.int64)
        model.network.caption_logits(ids, ids.bool(), None)


@pytest.mark.parametrize('kind', KINDS)
def test_padding_changes_nothing_and_predict_fills_the_fields(kind):
    model = build(kind).eval()
    model.keeps_states = True
    data = model.data_preprocessor(fake_batch())
    inputs = dict(data['inputs'])
    inputs['input_ids'] = F.pad(inputs['input_ids'], (0, 3), value=5)
    inputs['attention_mask'] = F.pad(inputs['attention_mask'], (0, 3))
    found = []
    for d in (data, dict(data, inputs=inputs)):
        found.append(model(**d, mode='loss'))
        model.discard_step()  # or the queue would hold its rows
    plain, padded = found
    torch.testing.assert_close(padded, plain)
    maps = []
    for d in (data, dict(data, inputs=inputs)):
        sample = model(**d, mode='predict')[2]
        maps.append(sample.pred_score_map.clone())
    torch.testing.assert_close(maps[1], maps[0])
    assert maps[0].shape == (4, 4) and maps[0].max() > 0 and sample.pred_image_prompt_map.max() > 0
    image, text = model(data['inputs'], mode='tensor')
    torch.testing.assert_close(sample.pred_image_feat, image[2])
    torch.testing.assert_close(sample.pred_instance_feat, image[2])
    torch.testing.assert_close(sample.pred_text_feat, text[2])
    # the states are enough to match the pair again
    words = sample.pred_match_text[None]
    score = model.match(
        sample.pred_match_image[None], words, torch.ones(words.shape[:2], dtype=torch.bool)
    )
    mask = data['inputs']['attention_mask'].bool()
    _, patches, _ = model.network.encode_picture(data['inputs']['images'][:, 0])
    tokens = model.network.text_encoder.encode_tokens(data['inputs']['input_ids'], mask.long())
    logits = model.network.match(tokens, mask, patches)
    torch.testing.assert_close(score[0], (logits[:, 1] - logits[:, 0])[2])


def test_soft_targets_rise():
    model = build('ALBEF', alpha=0.4, alpha_steps=4)
    data = model.data_preprocessor(fake_batch())
    found = []
    for step in range(6):
        model.num_steps = step
        found.append(model.extract(**data).alpha)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_wrong_options_are_errors():
    with pytest.raises(ValueError, match='a head of type FusionMatchingHead'):
        build('ALBEF', pretext_heads=dict(itc=dict(type='SoftContrastHead')))
    with pytest.raises(ValueError, match='both a head of type FusedWordsHead'):
        build('ALBEF', masking=None)
    with pytest.raises(ValueError, match='chunk_size=4'):
        build('ALBEF', chunk_size=4)
    with pytest.raises(ValueError, match='a head of type CaptionHead'):
        build('BLIP', pretext_heads=dict(itm=dict(type='FusionMatchingHead')))
    cfg = config('ALBEF')
    cfg['text_encoder'] = cfg['text_encoder'] | dict(padding='max_length', length_groups=1)
    with pytest.raises(ValueError, match="padding is 'max_length'"):
        MODELS.build(cfg)


def steps_of(model, optim, first, last):
    for step in range(first, last):
        torch.manual_seed(step)  # as StepSeedHook does
        data = model.data_preprocessor(fake_batch(seed=step))
        optim.zero_grad()
        total(model(**data, mode='loss')).backward()
        optim.step()
        model.finish_step()
        model.update_teacher(0.5)


@pytest.mark.parametrize('kind', KINDS)
def test_a_resumed_training_is_the_same_bit_for_bit(kind, tmp_path):
    models = [build(kind, dropout=0.1).train() for _ in range(2)]
    optims = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in models]
    steps_of(models[0], optims[0], 0, 3)
    torch.save(dict(model=models[0].state_dict(), optim=optims[0].state_dict()), tmp_path / 'x')
    steps_of(models[0], optims[0], 3, 5)
    saved = torch.load(tmp_path / 'x', weights_only=True)
    models[1].load_state_dict(saved['model'])
    optims[1].load_state_dict(saved['optim'])
    steps_of(models[1], optims[1], 3, 5)
    ours, theirs = (model.state_dict() for model in models)
    assert models[1].num_steps == 5 and list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert int(ours['heads.itc.queue.ring.num_seen']) == 5 * 6  # 30 rows in a queue of 11


def terms_and_gradients(kind, rows, wrap=lambda model: model):
    """Terms and gradients of some rows of a batch, texts padded to the longest of these."""
    inner = build(kind)
    inner.num_steps = 1
    queue = inner.heads['itc'].queue
    old = F.normalize(torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(1)), dim=-1)
    queue.later(*old, torch.arange(4))()
    batch = fake_batch(BATCH, num_tokens=12)
    # two rows of one product, one on each rank
    batch['data_samples'][6].set_metainfo(dict(product_id=batch['data_samples'][1].product_id))
    batch['inputs']['attention_mask'][1::2, 5:] = 0  # rank 1 has the shorter texts
    inputs = {k: v[rows] for k, v in batch['inputs'].items()}
    longest = int(inputs['attention_mask'].sum(dim=1).max())
    inputs = {k: v if k == 'images' else v[:, :longest] for k, v in inputs.items()}
    data = double(inner, dict(inputs=inputs, data_samples=batch['data_samples'][rows]))
    model = wrap(inner)  # by name: DDP must live until the gradients are there
    terms = model(**data, mode='loss')
    total(terms).backward()
    inner.finish_step()
    grads = {n: p.grad for n, p in inner.named_parameters() if p.requires_grad}
    assert not [name for name, grad in grads.items() if grad is None]  # DDP would wait
    return {k: v.detach().double() for k, v in terms.items()}, grads, queue.ring.feats, longest


def on_rank(rank, kind, out):
    register()
    dist.init_process_group('gloo')
    found = terms_and_gradients(
        kind, slice(rank, BATCH, 2), torch.nn.parallel.DistributedDataParallel
    )
    torch.save(dict(zip(('terms', 'grads', 'queue', 'longest'), found)), f'{out}{rank}')  # noqa: B905
    end_rank()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize('kind', KINDS)
def test_two_processes_give_the_losses_and_gradients_of_one(
    kind, tmp_path, repo_root, monkeypatch
):
    monkeypatch.syspath_prepend(str(repo_root))
    terms, grads, queue, _ = terms_and_gradients(kind, slice(0, BATCH))
    start_ranks(on_rank, kind, str(tmp_path / 'rank'))
    parts = [torch.load(tmp_path / f'rank{k}', weights_only=True) for k in range(2)]
    assert parts[0]['longest'] != parts[1]['longest']  # ranks pad differently
    for name, value in terms.items():
        both = (parts[0]['terms'][name] + parts[1]['terms'][name]) / 2
        torch.testing.assert_close(both, value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: n + m)
    for name, grad in grads.items():
        torch.testing.assert_close(
            parts[0]['grads'][name], grad, rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f'{n}: {m}'
        )
    for part in parts:
        torch.testing.assert_close(part['queue'], queue)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_it_learns(kind):
    model = build(kind, alpha=0.0).train()
    optim = torch.optim.AdamW(model.parameters(), lr=3e-3)
    data = model.data_preprocessor(fake_batch())
    losses = []
    for _ in range(40):
        optim.zero_grad()
        terms = model(**data, mode='loss')
        total(terms).backward()
        optim.step()
        model.update_teacher(0.5)
        losses.append({k: v.item() for k, v in terms.items() if 'loss' in k})
    for name, value in losses[0].items():
        assert sum(row[name] for row in losses[-5:]) / 5 < 0.75 * value, name


CONFIGS = [f'{p}_{end}' for p in ('albef', 'blip') for end in
           ('tiny_synthetic', 'lite2_snacks', 'lite2_grocery', 'vitb16')]  # fmt: skip
BASES = dict(
    tiny_synthetic='demo/eclip_tiny_synthetic.py',
    lite2_snacks='photos/eclip_lite2_snacks.py',
    lite2_grocery='photos/eclip_lite2_grocery.py',
    vitb16='eclip_vitb16.py',
)


@pytest.mark.parametrize('name', CONFIGS)
def test_configs_have_the_towers_and_steps_of_their_base(name, repo_root):
    project, _, end = name.partition('_')
    cfg = load_config(str(repo_root / f'projects/{project}/{name}.py'))
    base = load_config(str(repo_root / 'configs' / BASES[end]))
    for key in set(base) - {'model', 'test_evaluator', 'custom_hooks'}:
        assert cfg[key] == base[key], key
    for key in ('image_encoder', 'text_encoder', 'freeze', 'projections'):
        assert cfg.model.get(key) == base.model.get(key)
    if end in ('tiny_synthetic', 'vitb16'):  # the others read their towers from files
        for encoder in ('image_encoder', 'text_encoder'):
            cfg.model[encoder].pretrained = None
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        assert sorted(model.heads) == sorted(
            ['itc', 'itm', 'words' if project == 'albef' else 'captions']
        )


MEASURED = """
val_evaluator = [
    dict(type='ProductGrounding', split='photos', prefix='photos'),
    dict(type='TwoStageRetrieval', split='photos', prefix='two_stage', k_match=8),
]
custom_hooks = [dict(type='MatchingHook')]
"""


@pytest.mark.slow
def test_its_config_trains_and_is_measured_in_two_stages(workplace):
    path = workplace.root / 'projects/albef/albef_tiny_synthetic.py'
    config = workplace.shrink(path, 'albef.py')
    config.write_text(config.read_text() + MEASURED)
    workplace.train('albef', '--cfg-options', 'train_cfg.max_epochs=1', config=config)
    rows = logged(workplace.folder / 'albef')
    steps = [row for row in rows if 'loss' in row]
    names = {'loss_itc', 'loss_itm', 'loss_mlm'}
    assert len(steps) == 8 and all(names <= row.keys() for row in steps)
    measured = [row for row in rows if 'photos/right_box' in row][-1]
    assert {f'two_stage/{way}_R@1' for way in ('i2t', 'i2t_matched', 't2i_matched')} <= set(
        measured
    )
