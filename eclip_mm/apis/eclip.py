"""The class that users call: vectors, boxes and classes from one trained model."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch

from eclip_mm.apis.backends import choose_device, load_tasks
from eclip_mm.apis.box_shape import BoxShape
from eclip_mm.apis.input_pictures import (
    InputError,
    Item,
    PictureReader,
    groups_of_one_size,
    is_one,
    parse_item,
    with_own_aspect,
)
from eclip_mm.apis.tasks import Run
from eclip_mm.models.precision import convolutions_in_float32

#: task -> what an input is, see `parse_item`
TASKS = dict(encode='any', embed='both')
TASKS |= dict.fromkeys(('locate', 'classify', 'explain', 'detect'), 'picture')


class Eclip:
    """A trained model for use (docs/use.md).

    Inputs are paths, bytes of files, PIL pictures, uint8 arrays (RGB), texts, and dicts with
    ``image`` and ``text``. One input gives one result, several give a list in their order. A
    result is a dict of plain values. An input that cannot be used gives ``{'error': reason}``, or
    raises ``InputError`` with ``strict=True``. Up to the last bits of a float32, a result depends
    neither on the batch nor on the other inputs.

    Args:
        source: folder that ``tools/export.py`` wrote, or checkpoint; the checkpoint of a detector
            of mmdet (docs/detection.md) has :meth:`detect` alone.
        device: such as ``cuda:1``; None for a GPU if there is one.
        backend: ``onnx`` runs the graphs of a folder that was written with ``--onnx``, on the
            CPU unless a device is given.
        negatives: at least two names, such as those of the catalogue, which are the negative
            queries of all instance vectors: those that are most similar to a picture are taken.
            None for the model's own.
        keep_aspect: show pictures to the image tower with their own aspect ratio and the area of
            training, instead of squashed to a square; boxes are tighter (docs/pseudo_boxes.md).

    Attributes:
        checkpoint: ``name`` and ``sha256`` of the checkpoint; a folder has those of the
            checkpoint that it was made from.
        device: device of the model.
        embed_dims: width D of all vectors; None of a detector.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: it is damaged, or neither an ECLIP nor a detector; the backend is unknown, or
            does not go with it; the image tower takes pictures of one size alone.
    """

    def __init__(
        self,
        source: str | Path,
        device: str | torch.device | None = None,
        backend: str = 'torch',
        negatives: Sequence[str] | None = None,
        keep_aspect: bool = False,
    ) -> None:
        self.device = choose_device(device, backend)
        self._tasks, loaded = load_tasks(source, self.device, backend)
        self.model, self.checkpoint = loaded.model, loaded.checkpoint
        self.embed_dims = self._tasks.embed_dims
        pictures, self.keep_aspect = loaded.pictures, keep_aspect
        if keep_aspect and hasattr(self._tasks, 'take_any_size'):  # detectors keep it anyway
            pictures = with_own_aspect(pictures, self._tasks.take_any_size())
        self._read = PictureReader(pictures)
        if negatives is not None:
            with torch.no_grad():
                self._tasks.use_negatives(list(negatives))

    def encode(self, inputs, batch_size: int = 32, strict: bool = False):
        """The vector of each input; a string that ends like a picture (``.jpg``) is its path.

        Returns:
            ``kind`` and ``vector`` (D,), L2-normalised: ``image`` of a picture,
            ``text`` of a text, ``instance`` of a dict with both: the product in the
            picture that the text names.
        """
        return self._results('encode', inputs, batch_size, strict)

    def embed(self, images, texts=None, batch_size: int = 32, strict: bool = False):
        """All vectors of pictures and their texts.

        Args:
            images: one picture, or several.
            texts: the text of each picture; None for ``image`` alone.

        Returns:
            ``image``, ``text`` and ``instance``, each (D,) and L2-normalised.

        Raises:
            ValueError: there are more or fewer texts than pictures.
        """
        if is_one(images):
            inputs = dict(image=images, text=texts)
        else:
            images = list(images)
            texts = [None] * len(images) if texts is None else list(texts)
            if len(images) != len(texts):
                raise ValueError(f'there are {len(images)} pictures and {len(texts)} texts')
            inputs = [dict(image=i, text=t) for i, t in zip(images, texts, strict=True)]
        return self._results('embed', inputs, batch_size, strict)

    def locate(
        self,
        images,
        names: str | Sequence[str],
        top_k: int = 1,
        maps: bool = False,
        negatives: Sequence[str] | str | None = None,
        boxes_of: str = 'map',
        shape: BoxShape | None = None,
        batch_size: int = 32,
        strict: bool = False,
    ):
        """Where named products are in a picture, which passes the image tower once.

        Args:
            images: one picture, or several.
            names: one name, or several.
            top_k: largest number of boxes for a name.
            maps: whether to add the score map of each name.
            negatives: what competes with a name for the picture. None for the other names and,
                where these are fewer than in training, the model's own negative queries as well.
                A list of names takes the place of the other names. ``model`` is the model's own
                alone, so that a result does not depend on the other names, and is worse for it.
            boxes_of: where boxes come from: ``map`` cuts them out of the score map, ``regions``
                takes those of :class:`~eclip_mm.evaluation.proposals.RegionProposer`, which
                follow the edges of the picture and take longer.
            shape: how boxes are made of the map, fitted to labelled photos; None for the best of
                several fractions of its peak.

        Returns:
            ``width`` and ``height`` of the picture as it is seen, and ``products``:
            for each name ``name``; ``similarity``, the cosine of the name and what
            was found; ``boxes``, the best first, each with ``box``, xyxy in pixels
            of the picture, and ``score`` in [0, 1]; with ``maps`` also ``map``, the
            score map on the patch grid, h lists of w numbers in [0, 1].

        Raises:
            ValueError: there is no name, or nothing that competes with it.
        """
        options = dict(names=names, top_k=top_k, maps=maps, negatives=negatives)
        options |= dict(boxes_of=boxes_of, shape=shape)
        return self._results('locate', images, batch_size, strict, **options)

    def explain(self, images, vector, batch_size: int = 32, strict: bool = False):
        """Which parts of a picture are like a vector: why a search with it finds the picture.

        Unlike the maps of ``locate``, no other names compete, so that words that fit many
        products at once can be explained as well.

        Args:
            images: one picture, or several.
            vector: (D,), as ``encode`` gives it for words, a picture, or both.

        Returns:
            ``width`` and ``height`` of the picture as it is seen, and ``map`` on the patch grid,
            h lists of w numbers: the cosine of each patch and the vector, halved, less its
            smallest value in the picture.

        Raises:
            ValueError: the vector has another width, or is not finite.
        """
        return self._results('explain', images, batch_size, strict, vector=vector)

    def classify(
        self,
        images,
        names: Sequence[str],
        template: str = '{}',
        top_k: int | None = None,
        batch_size: int = 32,
        strict: bool = False,
    ):
        """Which of several names a picture as a whole fits best.

        Args:
            images: one picture, or several.
            names: of the classes.
            template: text of a class, such as ``a photo of {}``.
            top_k: largest number of classes in a result; None for all.

        Returns:
            ``classes``, the best first: ``name``, ``score``, which sums to 1 over
            all names, and ``similarity``, the cosine.
        """
        options = dict(names=names, template=template, top_k=top_k)
        return self._results('classify', images, batch_size, strict, **options)

    def detect(
        self,
        images,
        score_thr: float = 0.3,
        top_k: int | None = None,
        names: Sequence[str] | None = None,
        batch_size: int = 32,
        strict: bool = False,
    ):
        """The objects in a picture, of a detector; :meth:`locate` finds products by name.

        Args:
            images: one picture, or several.
            score_thr: least score of an object.
            top_k: largest number of objects in a result; None for all.
            names: classes to look for; None for all.

        Returns:
            ``width`` and ``height`` of the picture as it is seen, and ``objects``, the best
            first: ``name`` of the class, ``score`` in [0, 1], and ``box``, xyxy in pixels of the
            picture.

        Raises:
            ValueError: the model is no detector, or it has no such class.
        """
        options = dict(score_thr=score_thr, top_k=top_k, names=names)
        return self._results('detect', images, batch_size, strict, **options)

    def stream(
        self,
        inputs: Iterable,
        task: str = 'encode',
        batch_size: int = 32,
        strict: bool = False,
        **options,
    ) -> Iterator[dict]:
        """Results one after the other, in the order of the inputs; one batch is in memory.

        Args:
            inputs: any number of them, such as a generator; for ``embed`` dicts with ``image``
                and ``text``.
            task: ``encode``, ``embed``, ``locate``, ``explain``, ``classify`` or ``detect``.
            batch_size: number of inputs at a time.
            options: further arguments of the method of that name.

        Raises:
            ValueError: an unknown task, one that the model does not have, or ``batch_size`` is
                less than 1.
        """
        if task not in TASKS:
            raise ValueError(f'task is one of {", ".join(TASKS)}, got {task!r}')
        if not hasattr(self._tasks, task):
            has = ', '.join(name for name in TASKS if hasattr(self._tasks, name))
            raise ValueError(
                f'{self.checkpoint["name"]} is {self._tasks.kind}, which cannot {task}; it has '
                f'{has}'
            )
        if batch_size < 1:
            raise ValueError(f'batch_size is at least 1, got {batch_size}')
        with torch.no_grad(), convolutions_in_float32():
            run = getattr(self._tasks, task)(**options)
        return self._batches(iter(inputs), run, TASKS[task], batch_size, strict)

    def _results(self, task: str, inputs, batch_size: int, strict: bool, **options):
        one = is_one(inputs)
        found = self.stream([inputs] if one else inputs, task, batch_size, strict, **options)
        return next(found) if one else list(found)

    def _batches(
        self, inputs: Iterator, run: Run, takes: str, batch_size: int, strict: bool
    ) -> Iterator[dict]:
        while batch := list(islice(inputs, batch_size)):
            yield from self._run(batch, run, takes, strict)

    @torch.no_grad()
    def _run(self, batch: list, run: Run, takes: str, strict: bool) -> list[dict]:
        items: list[Item] = []
        results: list[dict | None] = []
        for value in batch:
            try:
                item = parse_item(value, takes)
                if item.picture is not None:
                    item.picture = self._read(item.picture)
                items.append(item)
                results.append(None)
            except InputError as error:
                if strict:
                    raise
                results.append(dict(error=str(error)))
        with convolutions_in_float32():
            found: dict[int, dict] = {}
            for numbers in groups_of_one_size(items) if items else ():
                found |= zip(numbers, run([items[k] for k in numbers]), strict=True)
        rest = (found[number] for number in range(len(items)))
        return [next(rest) if result is None else result for result in results]
