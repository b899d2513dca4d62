"""Whether ONNX graphs give what the weights give, on the pictures and texts of a catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eclip_mm.apis.catalogue_names import encode_token_ids
from eclip_mm.apis.input_pictures import InputError, PictureReader, ReadPicture
from eclip_mm.apis.locating import NegativeNames, best_boxes, decode_names, unique_names
from eclip_mm.apis.model_sources import LoadedModel
from eclip_mm.apis.tasks import NUM_TEXTS, ModelTasks
from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.evaluation.functional import pairwise_iou
from eclip_mm.utils.spread import spread_indices

#: pairs of a picture and its text: least number, and number that are compared
LEAST_PAIRS, NUM_PAIRS = 200, 256
MIN_COSINE, SAME_BOX, SIMILAR_BOX = 0.9999, 0.99, 0.5
_BATCH = 16


class ParityError(ValueError):
    """The graphs give something else than the weights."""


@dataclass
class Parity:
    """Figures of graphs beside those of the weights that they were made of.

    Attributes:
        pairs: number of pictures with a text.
        image_cosine, text_cosine, instance_cosine: the least of a vector with its own; None
            without a decoder.
        same_box: share of pictures whose best box has an IoU of at least 0.99 with its own.
        similar_box: the same of at least 0.5.
        i2t, t2i: Recall@1 of the weights and of the graphs, among these pairs.
    """

    pairs: int
    image_cosine: float
    text_cosine: float
    instance_cosine: float | None
    same_box: float
    similar_box: float
    i2t: tuple[float, float]
    t2i: tuple[float, float]

    def check(self, precision: str, max_loss: float) -> None:
        """Refuse graphs that lose too much.

        Args:
            precision: in ``fp32`` nothing may be lost: cosines of at least 0.9999, the same best
                boxes and the same recall.
            max_loss: for other precisions, how much of recall and of similar boxes may be lost.

        Raises:
            ParityError: they do; it has the figures.
        """
        vectors = (self.image_cosine, self.text_cosine, self.instance_cosine)
        cosines = [cosine for cosine in vectors if cosine is not None]
        if precision == 'fp32':
            good = all(cosine >= MIN_COSINE for cosine in cosines) and self.same_box == 1
            good = good and all(own == other for own, other in (self.i2t, self.t2i))
        else:
            losses = [self.i2t[0] - self.i2t[1], self.t2i[0] - self.t2i[1], 1 - self.similar_box]
            good = max(losses) <= max_loss and bool(np.isfinite(cosines).all())
        if not good:
            figures = ', '.join(f'{name} {value}' for name, value in asdict(self).items())
            bound = '' if precision == 'fp32' else f'; --max-loss is {max_loss}'
            raise ParityError(
                f'the ONNX graphs in {precision} give other results than the weights, and nothing '
                f'was written: {figures}{bound}'
            )

    def lines(self) -> Iterator[str]:
        """A table of the figures in Markdown."""
        yield '| on these pictures and texts | weights | graphs |'
        yield '|---|---|---|'
        for name, (own, other) in (('image to text', self.i2t), ('text to image', self.t2i)):
            yield f'| Recall@1, {name} | {own:.3f} | {other:.3f} |'
        yield f'| best boxes with an IoU of at least {SAME_BOX} | | {self.same_box:.3f} |'
        yield f'| best boxes with an IoU of at least {SIMILAR_BOX} | | {self.similar_box:.3f} |'
        for name in ('image', 'text', 'instance'):
            cosine = getattr(self, f'{name}_cosine')
            if cosine is not None:
                yield f'| least cosine of {name} vectors | | {cosine:.6f} |'


def read_pairs(
    transforms: list[dict], catalogues: Sequence[str | Path]
) -> tuple[list[ReadPicture], list[str]]:
    """Pictures from all parts of catalogues, and the text of each.

    Args:
        transforms: of a picture.
        catalogues: paths.

    Raises:
        ValueError: there are fewer than 200 pictures that can be read.
    """
    opened = [read_catalogue(path) for path in catalogues]
    places = [
        (catalogue, index, view)
        for catalogue in opened
        for index in range(len(catalogue))
        for view in range(catalogue.num_images(index))
    ]
    order = spread_indices(len(places), min(NUM_PAIRS, len(places)))
    order += sorted(set(range(len(places))) - set(order))  # where some cannot be read
    read, pictures, texts = PictureReader(transforms), [], []
    for number in order:
        if len(pictures) == NUM_PAIRS:
            break
        catalogue, index, view = places[number]
        row = catalogue.load(index, [view], boxes=False)
        record = row['images'][0]
        picture = record.get('bytes') or record.get('path')
        try:
            pictures.append(read(picture))
            texts.append(row['text'])
        except InputError:
            continue
    if len(pictures) < LEAST_PAIRS:
        raise ValueError(
            f'{", ".join(map(str, catalogues))}: {len(pictures)} pictures can be read, and graphs '
            f'are compared on at least {LEAST_PAIRS}: add catalogues to --verify'
        )
    return pictures, texts


def measure_parity(
    weights: LoadedModel, graphs: LoadedModel, pictures: list[ReadPicture], texts: list[str]
) -> Parity:
    """Compare two forms of a model on pictures, each with the text of its product."""
    ids, own = unique_names([weights.tokenize(dict(text=text))['input_ids'] for text in texts])
    own = np.array(own)
    first, second = (_answers(form, pictures, ids, own) for form in (weights, graphs))
    cosines = {name: (first[name] * second[name]).sum(1) for name in ('image', 'text')}
    instance = None
    if first['instance'] is not None:
        instance = float((first['instance'] * second['instance']).sum(1).min())
    pairs = zip(first['boxes'], second['boxes'], strict=True)
    ious = np.array([pairwise_iou(a[None], b[None])[0, 0] for a, b in pairs])
    recalls = [_recall(form['image'], form['text'], own) for form in (first, second)]
    return Parity(
        pairs=len(pictures),
        image_cosine=float(cosines['image'].min()),
        text_cosine=float(cosines['text'].min()),
        instance_cosine=instance,
        same_box=float((ious >= SAME_BOX).mean()),
        similar_box=float((ious >= SIMILAR_BOX).mean()),
        i2t=(recalls[0][0], recalls[1][0]),
        t2i=(recalls[0][1], recalls[1][1]),
    )


@torch.no_grad()
def _answers(
    form: LoadedModel, pictures: list[ReadPicture], ids: list[tuple], own: np.ndarray
) -> dict:
    """Vectors (n, D) of pictures, names (K, D) and instances, and the best box of each picture."""
    model: nn.Module = form.model
    tasks = ModelTasks(model, form.tokenize)
    text_feats = encode_token_ids(model, ids, NUM_TEXTS)
    others = NegativeNames(model, text_feats) if model.with_decoder else None
    images, instances, boxes = [], [], []
    rest = iter(zip(pictures, own.tolist(), strict=True))
    while batch := list(islice(rest, _BATCH)):
        feats, patch_tokens, grid = tasks.encode_pictures([picture for picture, _ in batch])
        images.append(feats)
        for (picture, name), tokens in zip(batch, patch_tokens.split(1), strict=True):
            found = decode_names(model, tokens, grid, text_feats[name][None], others)
            boxes.append(np.array(best_boxes(found.maps[0].numpy(), picture, 1)[0]['box']))
            instances.append(found.feats)
    return dict(
        image=torch.cat(images).float().numpy(),
        text=text_feats.numpy(),
        instance=torch.cat(instances).numpy() if model.with_decoder else None,
        boxes=boxes,
    )


def _recall(images: np.ndarray, names: np.ndarray, own: np.ndarray) -> tuple[float, float]:
    """Share of pictures whose best name is their own, and of names whose best picture is one."""
    similarity = images @ names.T
    used = np.unique(own)
    best = similarity[:, used].argmax(axis=0)
    return (
        round(float((similarity.argmax(axis=1) == own).mean()), 6),
        round(float((own[best] == used).mean()), 6),
    )
