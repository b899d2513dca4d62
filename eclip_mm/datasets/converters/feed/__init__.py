"""Catalogues from the exports of shop systems and other tables."""

from eclip_mm.datasets.converters.feed.arguments import open_feed
from eclip_mm.datasets.converters.feed.convert import convert_feed
from eclip_mm.datasets.converters.feed.download import FetchOptions
from eclip_mm.datasets.converters.feed.feed import Feed, FeedReport
from eclip_mm.datasets.converters.feed.fetch import FetchReport, fetch_pictures
from eclip_mm.datasets.converters.feed.fetched import default_folder
from eclip_mm.datasets.converters.feed.mapping import FeedMapping, PictureColumn
from eclip_mm.datasets.converters.feed.shops import SHOP_NAMES
from eclip_mm.datasets.converters.feed.texts import TextPart

__all__ = [
    'SHOP_NAMES',
    'Feed',
    'FeedMapping',
    'FeedReport',
    'FetchOptions',
    'FetchReport',
    'PictureColumn',
    'TextPart',
    'convert_feed',
    'default_folder',
    'fetch_pictures',
    'open_feed',
]
