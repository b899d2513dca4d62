"""Search in the features of a catalogue."""

from eclip_mm.index.feature_folder import FeatureFolder
from eclip_mm.index.opening import open_index
from eclip_mm.index.opensearch import write_bulk
from eclip_mm.index.queries import encoded_queries
from eclip_mm.index.vector_index import VectorIndex

__all__ = ['FeatureFolder', 'VectorIndex', 'encoded_queries', 'open_index', 'write_bulk']
