"""Search in the features of a catalogue."""

from eclip_mm.index.feature_folder import FeatureFolder
from eclip_mm.index.judged_searches import (
    JudgedSearch,
    append_judged,
    judged_figures,
    read_judged,
)
from eclip_mm.index.opening import Index, open_index
from eclip_mm.index.opensearch import write_bulk
from eclip_mm.index.queries import (
    Query,
    check_box,
    encode_each,
    encoded_queries,
    query_parts,
    read_photo,
)
from eclip_mm.index.vector_index import VectorIndex

__all__ = [
    'FeatureFolder',
    'Index',
    'JudgedSearch',
    'Query',
    'VectorIndex',
    'append_judged',
    'check_box',
    'encode_each',
    'encoded_queries',
    'judged_figures',
    'open_index',
    'query_parts',
    'read_judged',
    'read_photo',
    'write_bulk',
]
