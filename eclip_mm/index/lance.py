"""An index as a table of LanceDB, for more rows than an exact search should compare."""

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from eclip_mm.index.approximate import ApproximateIndex
from eclip_mm.index.conditions import OPPOSITES, Condition, different_values, type_of_column
from eclip_mm.index.files import FORMAT
from eclip_mm.index.files import MANIFEST as EXACT_MANIFEST
from eclip_mm.index.vector_index import VectorIndex
from eclip_mm.utils.env_check import check_lancedb
from eclip_mm.utils.files import write_whole_json

MANIFEST = 'lance.json'
#: rows from which a graph is built; fewer are compared one by one
LEAST_GRAPH = 5000
_REFINE, _PROBES = 4, 64
#: conditions on lists; null and empty lists meet none
_LIST_FORMS = {op: f'array_min({{0}}) {op} {{1}}' for op in ('<', '<=')}
_LIST_FORMS |= {op: f'array_max({{0}}) {op} {{1}}' for op in ('>', '>=')}
_LIST_FORMS |= {'=': 'array_has({0}, {1})', 'in': 'array_has_any({0}, [{1}])'}
_LIST_FORMS |= {
    op: f'array_length({{0}}) > 0 AND NOT {_LIST_FORMS[same]}' for op, same in OPPOSITES.items()
}


class LanceIndex(ApproximateIndex):
    """Searches a table of LanceDB by its HNSW graph of 8-bit vectors, and ranks that exactly.

    The graph finds four times as many rows as are wanted, and their order is that of the float32
    vectors. Conditions are applied before the search. Where it finds too few, all rows are
    compared.

    Args:
        folder: the folder that :meth:`build` has written.

    Raises:
        EnvironmentCheckError: lancedb is not installed.
        FileNotFoundError: the folder has no index.
        ValueError: another version of eclip_mm wrote it.
    """

    def __init__(self, folder: str | Path) -> None:
        check_lancedb()
        self.folder, self.name = Path(folder), str(folder)
        path = self.folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f'{path} is missing: build it with `eclip-mm index lance`')
        self.manifest = json.loads(path.read_text(encoding='utf-8'))
        if self.manifest.get('format') != FORMAT:
            raise ValueError(
                f'{path} is of another version of eclip_mm: build it again with `eclip-mm index '
                'lance`'
            )
        self._table = _database(self.folder).open_table(self.manifest['table'])
        fields = [f for f in self._table.schema if f.name not in ('id', 'vector')]
        self.schema = pa.schema(fields)

    @classmethod
    def build(cls, folder: str | Path, index: VectorIndex) -> 'LanceIndex':
        """Copy an index; an older copy is replaced when the new one is complete.

        The recall in ``manifest['recall']`` is measured against the exact index.

        Raises:
            ValueError: the folder has an exact index.
        """
        check_lancedb()
        from lancedb.index import BTree, HnswSq

        folder = Path(folder)
        if (folder / EXACT_MANIFEST).exists():
            raise ValueError(f'{folder} has an exact index; give the copy a folder of its own')
        folder.mkdir(parents=True, exist_ok=True)
        last = 0
        if (folder / MANIFEST).is_file():
            last = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))['generation']
        manifest = dict(index.manifest, generation=last + 1, table=f'rows_{last + 1:06d}')
        dims = index.manifest['dims']
        vector = pa.field('vector', pa.list_(pa.float32(), dims))
        schema = pa.schema([pa.field('id', pa.int64()), *index.schema, vector])
        reader = pa.RecordBatchReader.from_batches(schema, _batches(index, schema))
        database = _database(folder)
        # what a killed build has left has the name of the next table
        mode = 'overwrite' if (folder / f'{manifest["table"]}.lance').exists() else 'create'
        table = database.create_table(manifest['table'], reader, mode=mode)
        if len(index) >= LEAST_GRAPH:
            config = HnswSq(distance_type='dot')
            table.create_index('vector', config=config, wait_timeout=timedelta(days=1))
            table.create_index('product_id', config=BTree())
        built = cls.__new__(cls)
        built.folder, built.name, built.manifest, built._table = (
            folder,
            str(folder),
            manifest,
            table,
        )
        built.schema = index.schema
        manifest['recall'] = built.measure(index)
        write_whole_json(folder / MANIFEST, manifest)
        for other in folder.glob('rows_*.lance'):
            if other.stem != manifest['table']:
                shutil.rmtree(other)
        return built

    def __len__(self) -> int:
        return self._table.count_rows()

    def nearest(self, query: np.ndarray, take: int, condition: str) -> list[dict]:
        columns = ['id', *self.schema.names, '_distance']

        def search():
            found = self._table.search(query, vector_column_name='vector').distance_type('dot')
            found = found.limit(take).select(columns)
            return found.where(condition, prefilter=True) if condition else found

        graph = search().nprobes(_PROBES).ef(max(100, 2 * _REFINE * take))
        rows = graph.refine_factor(_REFINE).to_arrow().to_pylist()
        if len(rows) < take:
            rows = search().bypass_vector_index().to_arrow().to_pylist()
        rows.sort(key=lambda row: (row['_distance'], row['id']))
        return [dict(score=1 - row.pop('_distance'), **row) for row in rows]

    def condition(self, conditions: Sequence[Condition]) -> str:
        return ' AND '.join(
            _sql(*condition, pa.types.is_list(self.schema.field(condition[0]).type))
            for condition in conditions
        )

    def every(self, number: int) -> str:
        return '' if number == 1 else f'id % {number} = 0'

    def values_of(self, column: str) -> list:
        type_of_column(column, self.schema)
        values: set = set()
        for batch in self._table.search().select([column]).to_batches():
            values.update(different_values(batch[column]))
        return sorted(values)

    def vectors_of(self, product_id: str) -> np.ndarray:
        where = _sql('product_id', '=', product_id)
        found = self._table.search().where(where).select(['vector']).to_arrow()['vector']
        if not len(found):
            raise KeyError(f'{self.folder} has no product_id {product_id!r}')
        return np.array(found.to_pylist(), dtype=np.float32)


def _database(folder: Path):
    import lancedb

    return lancedb.connect(str(folder))


def _batches(index: VectorIndex, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    start = 0
    for rows, vectors in index.blocks():
        ids = pa.array(np.arange(start, start + len(rows)))
        flat = pa.array(vectors.ravel(), pa.float32())
        lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        columns = [ids, *(rows[name].combine_chunks() for name in rows.column_names), lists]
        start += len(rows)
        yield from pa.table(columns, schema=schema).to_batches()


def _sql(column: str, op: str, value, is_list: bool = False) -> str:
    """A condition in the SQL of LanceDB."""
    quoted = f'`{column}`'
    many = op in ('in', 'not in')
    literals = ', '.join(map(_literal, value if many else [value]))
    if is_list:
        return _LIST_FORMS[op].format(quoted, literals)
    return f'{quoted} {op.upper()} ({literals})'


def _literal(value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    raise ValueError(f'LanceDB compares text, numbers and booleans, got {value!r}')
