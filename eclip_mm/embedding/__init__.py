"""Features of whole catalogues, written to Parquet shards."""

from .features import FEATURES, BlockFeatures, ProductEmbedder, mean_of_pictures
from .job import EmbedOptions, ShardEmbedder, embed_catalogue, run_here
from .products import Block, Fault, Product, SliceProducts
from .rows import read_rows
from .shards import ShardWriter, read_counts, shard_name, shard_schema, skipped_name
from .slices import Slice, plan_slices

__all__ = [
    'FEATURES',
    'Block',
    'BlockFeatures',
    'EmbedOptions',
    'Fault',
    'Product',
    'ProductEmbedder',
    'ShardEmbedder',
    'ShardWriter',
    'Slice',
    'SliceProducts',
    'embed_catalogue',
    'mean_of_pictures',
    'plan_slices',
    'read_counts',
    'read_rows',
    'run_here',
    'shard_name',
    'shard_schema',
    'skipped_name',
]
