"""What indexes of other programs share: search by approximate neighbours, and their recall."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from eclip_mm.index.conditions import Condition, typed_conditions
from eclip_mm.index.feature_folder import unit_vectors
from eclip_mm.index.ranking import check_search, check_weights, nearest_in_blocks, recall_of
from eclip_mm.index.vector_index import RECALL_FILTER, RECALL_QUERIES, VectorIndex
from eclip_mm.utils.spread import spread_indices


class ApproximateIndex(ABC):
    """A copy of an exact index in a table that has a graph for neighbours.

    Rows of the table have ``id``, their number in the exact index, and its columns.

    Attributes:
        name: of the table, for errors.
        manifest: that of the exact index, with the ``recall`` of this one.
        schema: columns that hits have and that conditions may name.
    """

    name: str
    manifest: dict
    schema: pa.Schema

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def values_of(self, column: str) -> list:
        """As :meth:`VectorIndex.values_of`."""

    @abstractmethod
    def vectors_of(self, product_id: str) -> np.ndarray:
        """As :meth:`VectorIndex.vectors_of`."""

    @abstractmethod
    def nearest(self, query: np.ndarray, take: int, condition) -> list[dict]:
        """The nearest ``take`` rows, best first; fewer only if fewer meet the condition.

        Args:
            query: (D,) unit vector.
            take: number of rows.
            condition: of :meth:`condition` or :meth:`every`.

        Returns:
            ``id``, ``score``, the exact cosine similarity, and the columns.
        """

    @abstractmethod
    def condition(self, conditions: Sequence[Condition]):
        """Conditions as the table takes them."""

    @abstractmethod
    def every(self, number: int):
        """The condition that ``id`` is a multiple of a number."""

    def check_model(self, checkpoint_sha256: str) -> None:
        """As :meth:`VectorIndex.check_model`."""
        check_weights(self.name, self.manifest['checkpoint_sha256'], checkpoint_sha256)

    def search(
        self,
        vectors,
        k: int = 10,
        where: Sequence[Condition | str] | str | None = None,
        per: str = 'product',
        checkpoint_sha256: str | None = None,
    ) -> list[list[dict]]:
        """As :meth:`VectorIndex.search`; the neighbours are approximate, their order is exact."""
        if checkpoint_sha256 is not None:
            self.check_model(checkpoint_sha256)
        condition = self.condition(typed_conditions(where, self.schema))
        queries = unit_vectors(np.atleast_2d(vectors), 'queries')
        check_search(queries, self.manifest['dims'], k, per)
        hits = []
        for query in queries:
            take = k
            while True:
                rows = self.nearest(query, take, condition)
                kept: dict = {}
                for row in rows:
                    kept.setdefault(row['product_id'] if per == 'product' else row['id'], row)
                if len(kept) >= k or len(rows) < take:
                    break
                take *= 4
            hits.append([_hit(row) for row in list(kept.values())[:k]])
        return hits

    def measure(self, index: VectorIndex) -> dict:
        """Recall of ten neighbours against the exact index, of all rows and of a hundredth."""
        own = np.array(spread_indices(len(index), RECALL_QUERIES), dtype=np.int64)
        vectors, start = [], 0
        for _, block in index.blocks():
            vectors.append(block[own[(own >= start) & (own < start + len(block))] - start])
            start += len(block)
        queries = np.concatenate(vectors) if vectors else np.zeros((0, index.manifest['dims']))
        result = dict(k=10, queries=len(own))
        for key, number in (('all', 1), ('filtered', RECALL_FILTER)):
            blocks = (block for _, block in index.blocks())
            truth = nearest_in_blocks(queries, blocks, 11, number)
            found = np.full((len(own), 11), -1)
            for place, query in zip(found, queries, strict=True):
                ids = [row['id'] for row in self.nearest(query, 11, self.every(number))]
                place[: len(ids)] = ids
            result[key] = round(recall_of(found, truth, own), 4)
        return result


def _hit(row: dict) -> dict:
    return {key: value for key, value in row.items() if key != 'id'}
