"""An index as the lines that OpenSearch's bulk API takes."""

import json
from collections import Counter
from pathlib import Path

from eclip_mm.index.vector_index import VectorIndex
from eclip_mm.utils.files import whole_file, write_whole_json


def write_bulk(index: VectorIndex, path: str | Path, name: str) -> int:
    """Write bulk NDJSON, and beside it the body that creates the index, ``.mapping.json``.

    The id of a document is that of its product, with ``/`` and the number of its picture; another
    row of the same name has ``#2`` after it.

    Args:
        index: what to write.
        path: file of the lines.
        name: name of the index in OpenSearch.

    Returns:
        Number of documents.
    """
    seen: Counter = Counter()
    with whole_file(path) as part, open(part, 'w', encoding='utf-8') as file:
        for rows, vectors in index.blocks():
            for row, vector in zip(rows.to_pylist(), vectors, strict=True):
                key = row['product_id']
                key += '' if row['picture'] is None else f'/{row["picture"]}'
                seen[key] += 1
                key += f'#{seen[key]}' if seen[key] > 1 else ''
                row['vector'] = [float(f'{value:.9g}') for value in vector]  # exact in float32
                for line in (dict(index=dict(_index=name, _id=key)), row):
                    file.write(json.dumps(line, ensure_ascii=False, default=str) + '\n')
    vector = dict(type='knn_vector', dimension=index.manifest['dims'])
    vector['method'] = dict(name='hnsw', engine='faiss', space_type='innerproduct')
    keyword = {key: dict(type='keyword') for key in ('product_id', 'category', 'source', 'file')}
    write_whole_json(
        Path(path).with_suffix('.mapping.json'),
        dict(
            settings=dict(index=dict(knn=True)),
            mappings=dict(
                _meta=dict(checkpoint_sha256=index.manifest['checkpoint_sha256']),
                properties=dict(keyword, vector=vector),
            ),
        ),
    )
    return seen.total()
