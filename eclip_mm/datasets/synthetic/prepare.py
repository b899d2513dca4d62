"""The generated catalogue that a config asks for."""

from pathlib import Path

from tqdm import tqdm

from eclip_mm.datasets.converters import write_instance_queries
from eclip_mm.datasets.synthetic.generate import (
    SyntheticCatalogueConfig,
    write_synthetic_catalogue,
)


def prepare_catalogue(cfg, num_workers: int = 2) -> dict[str, Path]:
    """Generate the catalogue of a config if it does not exist yet.

    Besides the splits, ``queries.parquet`` is written: the held-out photos as queries for all the
    products in them (instance-level retrieval).

    Args:
        cfg: Config with ``synthetic`` (the arguments of :class:`SyntheticCatalogueConfig`) and
            ``data_root``.
        num_workers: Number of rendering processes.

    Returns:
        Path of each split; no paths if the config has no ``synthetic``, as its catalogue is the
        user's own.

    Raises:
        FileExistsError: ``data_root`` holds a catalogue of another config.
    """
    if cfg.get('synthetic') is None:
        return {}
    paths = write_synthetic_catalogue(
        SyntheticCatalogueConfig(**cfg.synthetic),
        cfg.data_root,
        num_workers=num_workers,
        progress=lambda rows: tqdm(
            rows, desc=f'catalogue in {cfg.data_root}', unit=' products', mininterval=1
        ),
    )
    if 'photos' in paths:
        paths['queries'] = Path(cfg.data_root) / 'queries.parquet'
        if not paths['queries'].exists():
            write_instance_queries(paths['photos'], paths['queries'], [paths['train']])
    return paths
