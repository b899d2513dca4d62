"""Where the names of ``CatalogueNegatives`` come from, and who encodes them when."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import init_default_scope
from torch.utils.data import ConcatDataset, DataLoader, Subset

from eclip_mm.apis import catalogue_names, predict_items, prepare_negatives
from eclip_mm.datasets import ProductImageDataset, collate_products
from eclip_mm.engine.evaluation_loops import ProductTestLoop, ProductValLoop
from eclip_mm.models.decoders import scale_prompts
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers.catalogues import make_rows, write_rows
from helpers.runs import FakeProducts

TEXTS = ['red cup', 'blue cup', 'red plate', 'RED  CUP', 'blue plate', 'green fork', 'red fork']


class KeepMaps(BaseMetric):
    """The score maps of all samples, in order."""

    def process(self, data_batch, data_samples):
        self.results += [sample['pred_score_map'] for sample in data_samples]

    def compute_metrics(self, results):
        return dict(maps=torch.stack(results))


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """``shop.parquet`` with the seven texts above, ``more.parquet`` with the last three."""
    init_default_scope('eclip_mm')
    folder = tmp_path_factory.mktemp('names')
    rows = [dict(row, text=text) for row, text in zip(make_rows(7), TEXTS, strict=True)]
    write_rows(rows, folder / 'shop.parquet')
    write_rows(rows[4:], folder / 'more.parquet')
    return folder


def dataset_of(path, **options) -> ProductImageDataset:
    tokenizer = dict(
        type='CatalogueWordPiece', catalogue=str(path.parent / 'shop.parquet'), vocab_size=60
    )
    pipeline = [
        dict(type='LoadProductImages'),
        dict(type='Resize', size=32),
        dict(type='TokenizeText', tokenizer=tokenizer, max_length=16),
        dict(type='PackProductInputs'),
    ]
    return ProductImageDataset(str(path), pipeline, **options)


def build(**options):
    negatives = dict(type='CatalogueNegatives', num_queries=5, **options)
    torch.manual_seed(0)
    cfg = tiny_model_config(embed_dims=16, num_blocks=1, negative_queries=negatives)
    return MODELS.build(cfg).eval()


def feats_of(model, texts, dataset) -> torch.Tensor:
    """(N, D) text features, one text at a time."""
    tokenize, found = dataset.pipeline.transforms[2], []
    for text in texts:
        ids = torch.tensor([tokenize(dict(text=text))['input_ids']])
        found.append(model.network.encode_text(ids, torch.ones_like(ids)))
    return torch.cat(found).detach()


def test_names_are_the_different_texts_in_their_order(place):
    """The tower cannot distinguish 'RED  CUP' from 'red cup'; dropout is off, the mode is kept."""
    model, dataset = build(), dataset_of(place / 'shop.parquet')
    expected = feats_of(model, [TEXTS[k] for k in (0, 1, 2, 4, 5, 6)], dataset)
    model.network.text_encoder.model.embeddings.dropout.p = 0.5
    model.train()
    prepare_negatives(model, dataset)
    assert model.training and not model.negative_queries.names.requires_grad
    torch.testing.assert_close(model.negative_queries.names, expected)


def test_a_text_of_the_catalogue_is_never_its_own_negative(place):
    model, dataset = build(), dataset_of(place / 'shop.parquet')
    prepare_negatives(model, dataset)
    prompts = feats_of(model, TEXTS, dataset)
    negatives = model.negative_queries(3, torch.randn(7, 16, 16), prompts)
    for text, found in zip(TEXTS, negatives, strict=True):
        distances = torch.cdist(found, scale_prompts(prompts))
        assert distances.amin(dim=1).max() < 1e-4 and len(found) == 4
        words = [TEXTS[place].lower().split() for place in distances.argmin(dim=1).tolist()]
        assert text.lower().split() not in words


def test_parts_that_give_names(place):
    shop, more = dataset_of(place / 'shop.parquet'), dataset_of(place / 'more.parquet')
    several = dataset_of(place / 'shop.parquet', one_product=False)
    names = feats_of(build(), [TEXTS[k] for k in (4, 5, 6, 0, 1, 2)], shop)
    for dataset, rows in (
        (ConcatDataset([more, shop]), names),
        (ConcatDataset([several, Subset(more, [0])]), names[:3]),  # whichever pictures are used
    ):
        model = build()
        prepare_negatives(model, dataset)
        torch.testing.assert_close(model.negative_queries.names, rows)
    for dataset in (several, shop):
        model = build(catalogue=str(place / 'more.parquet'))
        prepare_negatives(model, dataset)
        torch.testing.assert_close(model.negative_queries.names, names[:3])


def test_errors_say_what_is_missing(place):
    words = 'takes its names from the catalogue of the data.*set negative_queries.catalogue'
    for dataset in (FakeProducts(2), dataset_of(place / 'shop.parquet', one_product=False)):
        with pytest.raises(ValueError, match=words):
            list(predict_items(build(), dataset, [0]))
    dataset = dataset_of(place / 'shop.parquet')
    dataset.pipeline = lambda results: results
    with pytest.raises(ValueError, match='needs the tokenizer.*TokenizeText'):
        prepare_negatives(build(), dataset)
    with pytest.raises(ValueError, match='no such catalogue'):
        prepare_negatives(build(catalogue='gone.parquet'), dataset_of(place / 'shop.parquet'))
    # other models need neither catalogue nor tokenizer
    for changes in (dict(), dict(pretext_heads=dict(itc=dict(type='ITCHead')))):
        other = MODELS.build(tiny_model_config(**changes))
        assert prepare_negatives(other, FakeProducts(2)) is None


def test_names_are_encoded_once_for_several_predictions(place, monkeypatch):
    encoded, encode = [], catalogue_names.encode_token_ids

    def watched(model, token_ids):
        encoded.append(len(token_ids))
        return encode(model, token_ids)

    monkeypatch.setattr(catalogue_names, 'encode_token_ids', watched)
    shop, more = dataset_of(place / 'shop.parquet'), dataset_of(place / 'more.parquet')
    whole, model = ConcatDataset([shop, more]), build()
    for dataset in (shop, more):
        list(predict_items(model, dataset, [0, 1], names_from=whole))
    assert encoded == [6]
    list(predict_items(model, more, [0]))  # other names
    model.load_state_dict(model.state_dict())
    list(predict_items(model, more, [0]))
    list(predict_items(model, more, [0]))
    assert encoded == [6, 3, 3]


@pytest.mark.parametrize('kind', [ProductValLoop, ProductTestLoop])
def test_evaluations_prepare_names_with_the_weights_of_the_moment(place, kind):
    """Maps are those of ``predict_items``, whatever the batch, also after a change of weights."""
    whole = ConcatDataset([dataset_of(place / f'{name}.parquet') for name in ('shop', 'more')])
    runner = SimpleNamespace(
        model=build(), call_hook=lambda *args, **kwargs: None, visualizer=SimpleNamespace()
    )
    loader = DataLoader(whole, batch_size=7, collate_fn=collate_products)
    loop = kind(runner, loader, Evaluator([KeepMaps()]))
    before = loop.run()['maps']
    with torch.no_grad():
        runner.model.network.text_proj.weight.copy_(torch.randn(16, 16))
    after = loop.run()['maps']
    assert (before - after).abs().max() > 1e-3
    for rank in range(2):  # its share of the pictures and all names
        share = DataLoader(whole, 4, sampler=range(rank, 20, 2), collate_fn=collate_products)
        maps = kind(runner, share, Evaluator([KeepMaps()])).run()['maps']
        torch.testing.assert_close(maps, after[rank::2], rtol=1e-4, atol=1e-5)
    indices = torch.randperm(len(whole)).tolist()
    for batch_size in (1, 20):
        items = predict_items(build_like(runner.model), whole, indices, batch_size)
        maps = torch.stack([sample.pred_score_map for _, sample in items])
        torch.testing.assert_close(maps, after[indices], rtol=1e-4, atol=1e-5)


def build_like(model):
    """The same weights without names."""
    other = build()
    other.load_state_dict(model.state_dict())
    return other
