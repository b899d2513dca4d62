"""The files of an index: a manifest that names them, replaced when they are complete."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from eclip_mm.utils.files import write_whole_json

MANIFEST = 'index.json'
FORMAT = 1
_FILES = ('vectors-*', 'rows-*', 'removed-*')


class IndexFiles:
    """Reads and writes the files of a folder.

    Files are only added or, for vectors, appended to; what the manifest does not name or count is
    not there. A writer that is killed therefore changes nothing for readers.

    Args:
        folder: the folder of the index.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def manifest(self) -> dict:
        """The manifest.

        Raises:
            FileNotFoundError: the folder has no index.
            ValueError: another version of eclip_mm wrote it.
        """
        path = self.folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f'{path} is missing: build the index with `eclip-mm index`')
        manifest = json.loads(path.read_text(encoding='utf-8'))
        if manifest.get('format') != FORMAT:
            raise ValueError(
                f'{path} has format {manifest.get("format")}, and this version of eclip_mm reads '
                f'{FORMAT}; build the index again'
            )
        return manifest

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out.

        Raises:
            BlockingIOError: another process is writing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / '.lock', 'w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(
                    f'{self.folder}: another process is changing this index; try again later'
                ) from error
            yield

    def read(self, manifest: dict) -> tuple[np.ndarray, pa.Table, np.ndarray]:
        """(N, D) memory-mapped vectors, N rows, and the numbers of removed rows, ascending."""
        num_rows, shape = manifest['num_rows'], (manifest['num_rows'], manifest['dims'])
        if num_rows:
            # copy-on-write: torch does not take arrays that cannot be written to
            vectors = np.memmap(
                self.folder / manifest['vectors'], manifest['dtype'], mode='c', shape=shape
            )
        else:
            vectors = np.zeros(shape, manifest['dtype'])
        tables = []
        for name in manifest['rows']:
            with pa.memory_map(str(self.folder / name)) as file:
                tables.append(pa.ipc.open_file(file).read_all())
        removed = np.zeros(0, np.int64)
        if manifest['removed']:
            removed = np.load(self.folder / manifest['removed'])
        return vectors, pa.concat_tables(tables), removed

    def append(self, manifest: dict, blocks, schema: pa.Schema) -> dict:
        """Write blocks of rows and vectors after those of a manifest; returns the new manifest."""
        path = self.folder / manifest['vectors']
        width = manifest['dims'] * np.dtype(manifest['dtype']).itemsize
        rows_name = f'rows-{manifest["generation"]:06d}.arrow'
        added = 0
        with (
            open(path, 'r+b' if manifest['num_rows'] else 'wb') as file,
            pa.ipc.new_file(str(self.folder / rows_name), schema) as writer,
        ):
            file.truncate(manifest['num_rows'] * width)  # a killed writer may have left more
            file.seek(0, os.SEEK_END)
            for rows, vectors in blocks:
                writer.write_table(rows.cast(schema))
                vectors.astype(manifest['dtype']).tofile(file)
                added += len(rows)
            file.flush()
            os.fsync(file.fileno())
        return dict(
            manifest, num_rows=manifest['num_rows'] + added, rows=[*manifest['rows'], rows_name]
        )

    def remove(self, manifest: dict, removed: np.ndarray) -> dict:
        """Write the numbers of removed rows; returns the new manifest."""
        name = f'removed-{manifest["generation"]:06d}.npy'
        np.save(self.folder / name, removed)
        return dict(manifest, removed=name)

    def commit(self, manifest: dict) -> None:
        """Make a manifest the one that readers see, and drop files that it does not name."""
        write_whole_json(self.folder / MANIFEST, manifest)
        named = {manifest['vectors'], manifest['removed'], *manifest['rows']}
        for pattern in _FILES:
            for path in self.folder.glob(pattern):
                if path.name not in named:
                    path.unlink()
