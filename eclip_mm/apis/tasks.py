"""What a trained model does with a batch of decoded inputs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from eclip_mm.apis.box_shape import BoxShape
from eclip_mm.apis.catalogue_names import encode_token_ids
from eclip_mm.apis.input_pictures import Item, ReadPicture
from eclip_mm.apis.locating import NegativeNames, best_boxes, find_names, lacks_names, unique_names
from eclip_mm.datasets.transforms.text import TokenizeText
from eclip_mm.evaluation.proposals import RegionProposer
from eclip_mm.models.decoders import CatalogueNegatives
from eclip_mm.models.score_map import similarity_score_map

#: texts, and names of one picture, that are in memory at a time
NUM_TEXTS = 64
Run = Callable[[list[Item]], list[dict]]


class ModelTasks:
    """Each method takes the options of a task and returns what runs it on a batch.

    What does not depend on the batch, such as the features of names, is computed once.

    Args:
        model: an ``ECLIP`` in evaluation mode.
        tokenize: makes token ids of a text.
    """

    kind = 'a pretrained model'

    def __init__(self, model: nn.Module, tokenize: TokenizeText) -> None:
        self.model = model
        self.tokenize = tokenize
        self.embed_dims = model.network.embed_dims
        self.any_size: dict = {}

    def take_any_size(self) -> int:
        """Take pictures of any size from now on; returns what their sides are multiples of.

        Raises:
            ValueError: the image encoder takes one size alone.
        """
        encoder = getattr(self.model.network, 'image_encoder', None)
        if not hasattr(encoder, 'side_multiple'):
            raise ValueError(
                'keep_aspect: the image encoder of this model takes pictures of one size; leave '
                'keep_aspect out'
            )
        self.any_size = dict(any_size=True)
        return encoder.side_multiple

    def use_negatives(self, names: Sequence[str]) -> None:
        """Take names as the negative queries from now on; a model without decoder has none."""
        if not self.model.with_decoder:
            return
        source = CatalogueNegatives(self.model.network.embed_dims)
        source.set_names(self._name_feats(names, 'negatives')[0])
        self.model.negative_queries = source

    def encode(self) -> Run:
        """``kind`` and ``vector`` of each input."""

        def run(items):
            feats = self._features(items)
            kinds = [
                'text' if item.picture is None else 'image' if item.text is None else 'instance'
                for item in items
            ]
            return [
                dict(kind=kind, vector=found[kind])
                for kind, found in zip(kinds, feats, strict=True)
            ]

        return run

    def embed(self) -> Run:
        """``image``, and with a text ``text`` and ``instance``."""
        return self._features

    def locate(
        self,
        names: str | Sequence[str],
        top_k: int = 1,
        maps: bool = False,
        negatives: Sequence[str] | str | None = None,
        boxes_of: str = 'map',
        shape: BoxShape | None = None,
    ) -> Run:
        """``width``, ``height`` and ``products``."""
        names = [names] if isinstance(names, str) else list(names)
        feats, numbers = self._name_feats(names, 'names')
        others = self._others(feats, negatives) if self.model.with_decoder else None

        if boxes_of not in ('map', 'regions'):
            raise ValueError(f"boxes_of is 'map' or 'regions', got {boxes_of!r}")
        propose = RegionProposer() if boxes_of == 'regions' else None

        def find(picture, tokens, grid) -> dict:
            found = []
            candidates = None if propose is None else propose({}, picture.pixels)
            maps_of = find_names(self.model, tokens, grid, feats, others, NUM_TEXTS)
            for score_map, similarity in maps_of:
                boxes = best_boxes(score_map, picture, top_k, candidates, shape)
                found.append(dict(similarity=similarity, boxes=boxes))
                if maps:
                    found[-1]['map'] = score_map.tolist()
            products = [
                dict(name=name, **found[k]) for name, k in zip(names, numbers, strict=True)
            ]
            return dict(width=picture.size[0], height=picture.size[1], products=products)

        def run(items):
            _, patch_tokens, grid = self.encode_pictures([item.picture for item in items])
            rows = zip(items, patch_tokens.split(1), strict=True)
            return [find(item.picture, tokens, grid) for item, tokens in rows]

        return run

    def explain(self, vector: Sequence[float]) -> Run:
        """``width``, ``height`` and ``map``."""
        feat = torch.as_tensor(vector, dtype=torch.float32, device=self.model.logit_scale.device)
        if feat.shape != (self.model.network.embed_dims,) or not feat.isfinite().all():
            raise ValueError(
                f'vector: give one of {self.model.network.embed_dims} finite numbers, such as '
                f"encode(...)['vector'], got shape {tuple(feat.shape)}"
            )

        def run(items):
            _, patch_tokens, grid = self.encode_pictures([item.picture for item in items])
            maps = similarity_score_map(patch_tokens, feat.expand(len(items), -1), grid)
            return [
                dict(width=item.picture.size[0], height=item.picture.size[1], map=found.tolist())
                for item, found in zip(items, maps, strict=True)
            ]

        return run

    def classify(
        self, names: Sequence[str], template: str = '{}', top_k: int | None = None
    ) -> Run:
        """``classes``, the best first."""
        names = [names] if isinstance(names, str) else list(names)
        feats, numbers = self._name_feats([template.format(name) for name in names], 'names')

        def rank(similarities: Tensor) -> dict:
            scores = (self.model.logit_scale.exp() * similarities).softmax(dim=0).tolist()
            values = similarities.tolist()
            order = sorted(range(len(names)), key=lambda k: -values[k])
            return dict(
                classes=[
                    dict(name=names[k], score=scores[k], similarity=values[k])
                    for k in order[:top_k]
                ]
            )

        def run(items):
            image_feats = self.encode_pictures([item.picture for item in items])[0].float()
            return [rank(row) for row in (image_feats @ feats.T)[:, numbers]]

        return run

    def _others(self, feats: Tensor, negatives: Sequence[str] | str | None) -> NegativeNames:
        """What competes with names that are looked for."""
        if negatives is None:
            pool = feats
        elif isinstance(negatives, str):
            if negatives != 'model':
                raise ValueError(f"negatives is None, 'model' or several names, got {negatives!r}")
            pool = None
        else:
            pool = self._name_feats(list(negatives), 'negatives')[0]
            if len(pool) < 2:
                raise ValueError('negatives are at least two different names')
        if pool is None or len(pool) < 2:
            self._check_source()
        return NegativeNames(self.model, pool)

    def _check_source(self) -> None:
        if self.model.with_decoder and lacks_names(self.model.negative_queries):
            raise ValueError(
                'the negative queries of this model are names of a catalogue: give them, '
                'Eclip(..., negatives=[...]) or --negatives FILE'
            )

    def _name_feats(self, names: Sequence[str], what: str) -> tuple[Tensor, list[int]]:
        """Features of different names (K, D), and for each name its place among them."""
        if isinstance(names, str) or not names:
            raise ValueError(f'{what}: give a list of at least one name, got {names!r}')
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f'{what}: a name is a string that is not empty, got {name!r}')
        ids, numbers = unique_names([self._token_ids(name) for name in names])
        return encode_token_ids(self.model, ids, NUM_TEXTS), numbers

    def _token_ids(self, text: str) -> list[int]:
        return self.tokenize(dict(text=text))['input_ids']

    def encode_pictures(
        self, pictures: Sequence[ReadPicture]
    ) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Image features (B, D), patch tokens (B, N, D) and grid."""
        images = torch.stack([picture.pixels for picture in pictures])[:, None]
        batch = dict(inputs=dict(images=images), data_samples=None)
        images = self.model.data_preprocessor(batch)['inputs']['images']
        return self.model.network.encode_image(images[:, 0], **self.any_size)

    def _features(self, items: list[Item]) -> list[dict]:
        """All vectors of each item that its picture and text give."""
        found = [{} for _ in items]

        def put(name, rows, feats):
            for row, vector in zip(rows, feats.float().tolist(), strict=True):
                found[row][name] = vector

        pictured = [k for k, item in enumerate(items) if item.picture is not None]
        written = [k for k, item in enumerate(items) if item.text is not None]
        both = [k for k in pictured if items[k].text is not None]
        if pictured:
            image_feats, patch_tokens, grid = self.encode_pictures(
                [items[k].picture for k in pictured]
            )
            put('image', pictured, image_feats)
        if written:
            ids = [self._token_ids(items[k].text) for k in written]
            text_feats = encode_token_ids(self.model, ids, NUM_TEXTS)
            put('text', written, text_feats)
        if both:
            self._check_source()
            of_both = [pictured.index(k) for k in both]
            prompts = text_feats[[written.index(k) for k in both]]
            instance_feats, _ = self.model.locate(patch_tokens[of_both], grid, prompts)
            # without a decoder, as in `ECLIP.predict`
            put(
                'instance',
                both,
                image_feats[of_both] if instance_feats is None else instance_feats,
            )
        return found
