"""Catalogues, datasets, transforms, tokenizers and samplers."""

from eclip_mm.datasets.catalogue import Catalogue, read_catalogue
from eclip_mm.datasets.checkpoint_tokenizer import CheckpointTokenizer
from eclip_mm.datasets.collate import collate_products
from eclip_mm.datasets.product_dataset import ProductDataset, ProductImageDataset
from eclip_mm.datasets.product_stream import ProductStream
from eclip_mm.datasets.samplers import ResumableSampler
from eclip_mm.datasets.storage.report import CatalogueReport
from eclip_mm.datasets.storage.schema import CatalogueError, validate_row
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter, write_jsonl
from eclip_mm.datasets.tokenizers import AutoTokenizer, CatalogueWordPiece, build_tokenizer
from eclip_mm.datasets.transforms import ImageDecodeError

__all__ = [
    'AutoTokenizer',
    'Catalogue',
    'CatalogueError',
    'CatalogueReport',
    'CatalogueWordPiece',
    'CheckpointTokenizer',
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
