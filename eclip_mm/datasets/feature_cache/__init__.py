"""Features of frozen towers on disk, in the place of pictures."""

from eclip_mm.datasets.feature_cache.card import CacheError, FeatureCard, read_card
from eclip_mm.datasets.feature_cache.store import CacheReader, CacheWriter, open_cache

__all__ = ['CacheError', 'CacheReader', 'CacheWriter', 'FeatureCard', 'open_cache', 'read_card']
