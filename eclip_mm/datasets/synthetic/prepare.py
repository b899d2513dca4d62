"""The generated catalogue that a config asks for."""

from pathlib import Path

from tqdm import tqdm

from .generate import SyntheticCatalogueConfig, write_synthetic_catalogue


def prepare_catalogue(cfg, num_workers: int = 2) -> dict[str, Path]:
    """Generate the catalogue of a config where it is not there yet.

    Args:
        cfg: config with ``synthetic`` (:class:`SyntheticCatalogueConfig`'s
            arguments) and ``data_root``.
        num_workers: rendering processes.

    Returns:
        Path of each split; none where the config has no ``synthetic``: its
        catalogue is the user's own.

    Raises:
        FileExistsError: ``data_root`` holds a catalogue of another config.
    """
    if cfg.get('synthetic') is None:
        return {}
    return write_synthetic_catalogue(
        SyntheticCatalogueConfig(**cfg.synthetic),
        cfg.data_root,
        num_workers=num_workers,
        progress=lambda rows: tqdm(
            rows, desc=f'catalogue in {cfg.data_root}', unit=' products', mininterval=1
        ),
    )
