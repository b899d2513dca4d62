"""Catalogues, datasets, transforms, tokenizers and samplers."""

from .catalogue import Catalogue, CatalogueReport, read_catalogue
from .collate import collate_products
from .product_dataset import ProductDataset, ProductImageDataset
from .product_stream import ProductStream
from .samplers import ResumableSampler
from .schema import CatalogueError, validate_row
from .tokenizers import AutoTokenizer, CatalogueWordPiece, build_tokenizer
from .transforms import ImageDecodeError
from .writers import ParquetCatalogueWriter, write_jsonl

__all__ = [
    'AutoTokenizer',
    'Catalogue',
    'CatalogueError',
    'CatalogueReport',
    'CatalogueWordPiece',
    'ImageDecodeError',
    'ParquetCatalogueWriter',
    'ProductDataset',
    'ProductImageDataset',
    'ProductStream',
    'ResumableSampler',
    'build_tokenizer',
    'collate_products',
    'read_catalogue',
    'validate_row',
    'write_jsonl',
]
