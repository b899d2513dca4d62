"""Features of whole catalogues, written to Parquet shards."""

from eclip_mm.embedding.features import FEATURES, BlockFeatures, ProductEmbedder, mean_of_pictures
from eclip_mm.embedding.job import EmbedOptions, ShardEmbedder, embed_catalogue, run_here
from eclip_mm.embedding.products import Block, Fault, Product, ProductBlocks
from eclip_mm.embedding.row_ranges import RowRange, plan_row_ranges
from eclip_mm.embedding.shards import (
    ShardWriter,
    read_counts,
    shard_name,
    shard_schema,
    skipped_name,
)

__all__ = [
    'FEATURES',
    'Block',
    'BlockFeatures',
    'EmbedOptions',
    'Fault',
    'Product',
    'ProductBlocks',
    'ProductEmbedder',
    'RowRange',
    'ShardEmbedder',
    'ShardWriter',
    'embed_catalogue',
    'mean_of_pictures',
    'plan_row_ranges',
    'read_counts',
    'run_here',
    'shard_name',
    'shard_schema',
    'skipped_name',
]
