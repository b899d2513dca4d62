"""Features of texts that a frozen tower remembers."""

import copy

import torch

from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config


def build(remember: int, freeze: str | int = 'all'):
    torch.manual_seed(0)
    cfg = tiny_model_config()['text_encoder']
    encoder = MODELS.build(dict(cfg, remember=remember))
    encoder.freeze(freeze)
    return encoder


def texts(seed: int = 0):
    inputs = fake_batch(seed=seed)['inputs']
    return inputs['input_ids'], inputs['attention_mask']


def count_texts(encoder) -> list[int]:
    """Number of texts of each call of the tower, filled as it is called."""
    counts = []
    encoder.model.register_forward_pre_hook(
        lambda _, args, kwargs: counts.append(
            len(next(v for v in (*args, *kwargs.values()) if v is not None))
        ),
        with_kwargs=True,
    )
    return counts


def test_each_text_is_encoded_once_and_has_the_same_feature():
    wanted, encoder = build(0), build(100)
    counts = count_texts(encoder)
    ids, mask = texts()
    ids = torch.cat([ids, ids[:2]])
    mask = torch.cat([mask, mask[:2]])
    for _ in range(2):
        torch.testing.assert_close(encoder(ids, mask), wanted(ids, mask))
    assert sum(counts) == 6
    # the same words with more padding are the same text
    wide = torch.nn.functional.pad(ids, (0, 3)), torch.nn.functional.pad(mask, (0, 3))
    encoder(*wide)
    assert sum(counts) == 6


def test_a_full_memory_encodes_further_texts_each_time():
    wanted, encoder = build(0), build(2)
    counts = count_texts(encoder)
    for _ in range(2):
        torch.testing.assert_close(encoder(*texts()), wanted(*texts()))
    assert sum(counts) == 6 + 4


def test_a_copy_shares_the_memory_and_new_weights_empty_it():
    encoder = build(100)
    encoder(*texts())
    twin = copy.deepcopy(encoder)
    assert twin.memory is encoder.memory
    state = {name: value + 0.1 for name, value in encoder.state_dict().items()}
    before = encoder(*texts())
    encoder.load_state_dict(state)
    assert not torch.allclose(encoder(*texts()), before)


def test_a_tower_that_is_trained_remembers_nothing():
    encoder = build(100, freeze=1)
    assert encoder(*texts()).requires_grad
    counts = count_texts(encoder)
    encoder(*texts())
    assert sum(counts) == 6


def test_another_precision_is_another_text():
    wanted, encoder = build(0), build(100)
    for enabled in (True, False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            torch.testing.assert_close(encoder(*texts()), wanted(*texts()), rtol=0, atol=0)
