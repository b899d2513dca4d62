"""Features of whole catalogues, written to Parquet shards."""

from eclip_mm.embedding.features import FEATURES, BlockFeatures, ProductEmbedder, mean_of_pictures
from eclip_mm.embedding.job import EmbedOptions, ShardEmbedder, embed_catalogue, run_here
from eclip_mm.embedding.products import Block, Fault, Product, SliceProducts
from eclip_mm.embedding.rows import read_rows
from eclip_mm.embedding.shards import (
    ShardWriter,
    read_counts,
    shard_name,
    shard_schema,
    skipped_name,
)
from eclip_mm.embedding.slices import Slice, plan_slices

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
