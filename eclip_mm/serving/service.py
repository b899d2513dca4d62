"""What the service does with a request that has been read."""

from collections.abc import Hashable

import numpy as np
from fastapi.concurrency import run_in_threadpool

from eclip_mm.apis import Eclip
from eclip_mm.index import Index, query_parts
from eclip_mm.serving.batching import MicroBatcher
from eclip_mm.serving.limits import Limits, Refused
from eclip_mm.serving.messages import (
    ClassifyRequest,
    EncodeRequest,
    Input,
    LocateRequest,
    SearchRequest,
)
from eclip_mm.serving.metrics import Metrics

_ENCODE = ('encode', ())


class Service:
    """Answers requests with one model, which runs on one thread, and one index.

    Requests with the same task and options share batches. An answer does not depend on its batch,
    up to the last bits of a float32.

    Args:
        eclip: the model.
        index: what ``/search`` searches; None for no search.
        limits: what a request may ask for.
        metrics: counts batches.

    Raises:
        ValueError: the index was built with other weights.
    """

    def __init__(
        self, eclip: Eclip, index: Index | None, limits: Limits, metrics: Metrics
    ) -> None:
        if index is not None:
            index.check_model(eclip.checkpoint['sha256'])
        self.eclip, self.index, self.limits = eclip, index, limits
        self.batcher = MicroBatcher(self._run, limits.batch, limits.wait, metrics.batch.observe)

    def health(self) -> dict:
        """What is served.

        Raises:
            Refused: the model's thread has ended.
        """
        if not self.batcher.is_alive:
            raise Refused(503, 'The model is not running; start the service again.')
        rows = None if self.index is None else len(self.index)
        return dict(status='ok', model=self.eclip.checkpoint, index_rows=rows)

    async def encode(self, request: EncodeRequest) -> dict:
        """``results``: see ``Eclip.encode``; an input that cannot be used has ``error``."""
        self.limits.check_count('inputs', len(request.inputs), self.limits.inputs)
        for number, value in enumerate(request.inputs, 1):
            self._check_input(value, number)
        inputs = [value.as_input() for value in request.inputs]
        return dict(results=await self.batcher.submit(_ENCODE, inputs))

    async def locate(self, request: LocateRequest) -> dict:
        """See ``Eclip.locate``."""
        negatives = request.negatives
        for names in (request.names, negatives if isinstance(negatives, list) else []):
            self._check_names(names)
        return await self._picture_task(
            'locate',
            request.image,
            names=tuple(request.names),
            top_k=request.top_k,
            maps=request.maps,
            negatives=tuple(negatives) if isinstance(negatives, list) else negatives,
            boxes_of=request.boxes_of,
        )

    async def classify(self, request: ClassifyRequest) -> dict:
        """See ``Eclip.classify``."""
        self._check_names(request.names)
        return await self._picture_task(
            'classify', request.image, names=tuple(request.names), top_k=request.top_k
        )

    async def search(self, request: SearchRequest) -> dict:
        """``hits``: see ``VectorIndex.search``."""
        if self.index is None:
            raise Refused(404, 'This service has no index to search.')
        self.limits.check_count('hits', request.k, self.limits.hits)
        self.limits.check_count('conditions', len(request.where), self.limits.names)
        self.limits.check_texts([*request.where, request.like or ''])
        if (request.like is not None) == bool(request.as_input()):
            raise Refused(422, 'Search by text, image or both, or by like, the id of a product.')
        vector = await self._query(request)
        found = await run_in_threadpool(
            self.index.search, vector, request.k, request.where, request.per
        )
        return dict(hits=found[0])

    async def _query(self, request: SearchRequest) -> np.ndarray:
        if request.like is not None:
            try:
                return self.index.vectors_of(request.like).sum(axis=0)
            except KeyError:
                raise Refused(404, 'The index has no product of this id.') from None
        self._check_input(request, 1)
        parts = query_parts(request.as_input(), self.index.manifest['feature'])
        results = await self.batcher.submit(_ENCODE, parts)
        _check_results(results)
        return np.sum([result['vector'] for result in results], axis=0, dtype=np.float32)

    async def _picture_task(self, task: str, image: bytes, **options) -> dict:
        self.limits.check_picture(image)
        key = (task, tuple(options.items()))
        results = await self.batcher.submit(key, [dict(image=image)])
        _check_results(results)
        return results[0]

    def _check_input(self, value: Input, number: int) -> None:
        if value.text is not None:
            self.limits.check_texts([value.text])
        if value.image is not None:
            self.limits.check_picture(value.image, number)

    def _check_names(self, names: list[str]) -> None:
        self.limits.check_count('names', len(names), self.limits.names)
        self.limits.check_texts(names)

    def _run(self, key: Hashable, inputs: list) -> list[dict]:
        task, options = key
        stream = self.eclip.stream(inputs, task, self.limits.batch, **dict(options))
        return list(stream)


def _check_results(results: list[dict]) -> None:
    for result in results:
        if 'error' in result:
            raise Refused(422, f'{result["error"]}.')
