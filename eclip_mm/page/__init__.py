"""A page in the browser: search a catalogue and see why something was found (docs/page.md)."""

from eclip_mm.page.catalogue_search import CatalogueSearch, Hit, Place, open_search
from eclip_mm.page.shown_products import ShownProducts

__all__ = ['CatalogueSearch', 'Hit', 'Place', 'ShownProducts', 'open_search']
