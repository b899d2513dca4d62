"""Arguments that several programs of ``tools/`` have.

This module must not import torch or mmengine, so that ``--help`` answers at once.
"""

import argparse

from eclip_mm.utils.options import OptionAction


def add_launch_arguments(parser: argparse.ArgumentParser, results: str) -> None:
    """Add ``--work-dir``, ``--cfg-options``, ``--launcher`` and ``--local_rank`` to a parser.

    Args:
        parser: a parser that also has the argument ``config``.
        results: what is written to the work dir, for the help.
    """
    parser.add_argument(
        '--work-dir', help=f'folder for {results}; default: work_dirs/{{name of the config}}'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help='changes of the config as key=value, e.g. train_dataloader.batch_size=64',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what has started the processes of a distributed run',
    )
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help='number of the process on its machine; torch.distributed.launch sets it',
    )


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a program that draws a picture from a checkpoint to a parser.

    These are ``config``, ``checkpoint``, ``out``, ``--catalogue``, ``--device`` and
    ``--cfg-options``.

    Args:
        parser: changed in place.
    """
    parser.add_argument('config', help='config of the training, or one of configs/evaluation')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', help='picture to write')
    parser.add_argument('--catalogue', help='catalogue for a config that does not set it')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, help='changes of the config as key=value'
    )


def add_feed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the source and the options of its mapping to a parser."""
    parser.add_argument(
        'source', help='.csv, .tsv, .xlsx, .json, .parquet or .arrow file, or a folder of the last'
    )
    parser.add_argument(
        '--shop',
        metavar='NAME',
        help='system that the source is an export of: shopify, google, woocommerce, magento, '
        'datasets or none (default: guessed from its columns)',
    )
    parser.add_argument('--mapping', metavar='YAML', help='file that --show has printed')
    parser.add_argument(
        '--product-id',
        nargs='+',
        metavar='COLUMN',
        help='column of the id; of several, the first with a value. Rows with one id are one '
        "product; 'row number' makes each row a product",
    )
    parser.add_argument(
        '--text',
        nargs='+',
        action='append',
        metavar='TEMPLATE [WEIGHT]',
        help="part of the text, such as '{brand}, made of {material*}' (the star: all values of "
        'the product), and its weight where --max-words shares out the words; may be repeated',
    )
    parser.add_argument('--category', nargs='+', metavar='COLUMN', help='column of the category')
    parser.add_argument(
        '--picture',
        nargs='+',
        action='append',
        metavar='COLUMN [SOURCE [SEPARATOR]]',
        help="column of pictures, or a pattern such as '{sku}_*.jpg', with the source (default: "
        'merchant) and what divides several pictures of a cell; may be repeated',
    )
    parser.add_argument(
        '--attributes',
        nargs='+',
        metavar='COLUMN',
        help="columns to keep as attributes, 'all' others (default) or 'none'",
    )
    parser.add_argument('--encoding', help='encoding of a text file (default: UTF-8, or its mark)')
    parser.add_argument('--delimiter', help='delimiter of a .csv or .tsv file (default: guessed)')
    parser.add_argument('--sheet', help='sheet of an Excel file (default: the first)')
