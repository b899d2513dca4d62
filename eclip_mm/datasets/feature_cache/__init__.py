"""Features of frozen towers on disk, in the place of pictures."""

from eclip_mm.datasets.feature_cache.store import CacheError, CacheReader, CacheWriter, FeatureCard

__all__ = ['CacheError', 'CacheReader', 'CacheWriter', 'FeatureCard']
