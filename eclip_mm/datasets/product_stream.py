"""Products for pretraining, streamed from Parquet in constant memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_dist_info
from torch.utils.data import IterableDataset, get_worker_info

from eclip_mm.datasets.catalogue import is_json_lines
from eclip_mm.datasets.fixes import Fixes
from eclip_mm.datasets.picture_choice import (
    check_choice,
    check_sources,
    choose_pictures,
    wanted_pictures,
)
from eclip_mm.datasets.product_filter import ProductFilter
from eclip_mm.datasets.samples import Attempts, SampleBuilder, load_stored
from eclip_mm.datasets.storage.attributes import read_attributes
from eclip_mm.datasets.storage.row_groups import RowGroupReader
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.stored_files import find_files
from eclip_mm.datasets.stream_faults import StreamFaults
from eclip_mm.datasets.stream_order import StreamOrder
from eclip_mm.datasets.stream_window import StreamWindow, load_window
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.registry import DATASETS
from eclip_mm.utils.conditions import Conditions


@DATASETS.register_module()
class ProductStream(IterableDataset):
    """A text and ``num_images`` pictures of one product after the other.

    The samples are those of :class:`~eclip_mm.datasets.ProductDataset`, read row group by row
    group: there is no index, and memory does not grow with the catalogue. Their order is described
    in :mod:`~eclip_mm.datasets.stream_order`. It does not depend on the number of workers, and a
    stream can begin at any batch without reading what came before. ``ResumableTrainLoop`` sets the
    epoch, the first batch and the batch size.

    A product without a fault becomes the sample that ``ProductDataset`` makes of it. Every step
    needs its batch, so another product, if possible one that is in memory, replaces a row that
    cannot be used, has no picture of the sources asked for, or does not meet ``where``. Faults are
    counted, and the first ones of each epoch logged. That ids are unique is not checked.

    Args:
        catalogue: A ``.parquet`` file, a folder of them, a pattern with ``*``, or several of
            these; paths, or addresses of a file system that ``fsspec`` knows (``s3://...``).
        pipeline: transforms.
        num_images: pictures per sample.
        seed: seed of the order and of every random choice.
        strict: raise at the first fault.
        sources: use only pictures of these sources. Products without any are not left out but
            replaced: where many have none, write a catalogue without them.
        exclude_sources: use no picture of these.
        where, fixes: as for ``ProductDataset``; other products are replaced like those above.
        first_picture: as for ``ProductDataset``.
        shuffle: shuffle row groups, and rows in memory.
        shuffle_rows: products that the virtual workers of a shard hold together, and twice as many
            while they read ahead (after half of their rows). Each shuffles its part,
            ``shuffle_rows / num_virtual_workers``, and a shard's part of a batch comes from one of
            them. Each holds one row group at least.
        num_virtual_workers: the number of workers divides it, or is 0. The order depends on it,
            and not on the number of workers.
        num_shards: the number of ranks divides it, and it divides the batch of all ranks. The
            order depends on it, and not on the number of ranks, which read the shards. Defaults to
            the number of ranks.
        storage_options: passed to the file system.
        batch_size: batch size of the loader, which must drop the last, shorter batch; needed where
            no ``ResumableTrainLoop`` sets it.
    """

    # bytes of pictures that a rank's workers may hold before a warning
    max_held = 8 * 2**30

    def __init__(
        self,
        catalogue: str | Path | Sequence[str | Path],
        pipeline: Sequence[dict | Callable] | Callable,
        num_images: int = 2,
        seed: int = 0,
        strict: bool = False,
        sources: Sequence[str] | None = None,
        exclude_sources: Sequence[str] | None = None,
        first_picture: str = 'source',
        where: Conditions | None = None,
        fixes: str | Path | None = None,
        shuffle: bool = True,
        shuffle_rows: int = 2048,
        num_virtual_workers: int = 8,
        num_shards: int | None = None,
        storage_options: dict | None = None,
        batch_size: int | None = None,
    ) -> None:
        check_choice('ProductStream', num_images, first_picture)
        check_sources('ProductStream', sources, exclude_sources)
        self.rank, self.num_ranks = get_dist_info()
        self.num_shards = self.num_ranks if num_shards is None else num_shards
        counts = dict(shuffle_rows=shuffle_rows, num_virtual_workers=num_virtual_workers)
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"ProductStream: '{name}' is {value}, give at least 1")
        if self.num_shards < 1 or self.num_shards % self.num_ranks:
            raise ValueError(
                f"ProductStream: 'num_shards' is {self.num_shards}; give a multiple of the "
                f'number of ranks, {self.num_ranks}'
            )
        self.catalogue = catalogue
        self.storage_options = storage_options
        self.seed = seed
        self.shuffle = shuffle
        self.shuffle_rows = shuffle_rows
        self.num_virtual_workers = num_virtual_workers
        self.batch_size = batch_size
        self.sources = sources
        self.exclude_sources = exclude_sources
        self.first_picture = first_picture
        self.filter = ProductFilter('ProductStream', where)
        self.faults = StreamFaults(num_virtual_workers, f'ProductStream({catalogue})', strict)
        choose = partial(choose_pictures, num_images=num_images, first_picture=first_picture)
        self._builder = SampleBuilder(pipeline, choose)
        self._builder.fixes = Fixes(fixes)
        self._groups: RowGroupReader | None = None
        # epoch and first batch, in memory that workers share
        self._place = torch.zeros(2, dtype=torch.int64).share_memory_()

    @property
    def metainfo(self) -> dict:
        """Plain dict that mmengine's loops hand to metrics and visualizers."""
        return dict(dataset_type='product_catalogue')

    def full_init(self) -> None:
        """Read the footers of the files; mmengine calls it once."""
        if self._groups is None:
            files = find_files(self.catalogue, self.storage_options)
            for file in files:
                if is_json_lines(file):
                    raise CatalogueError(
                        f'{file}: a stream reads Parquet only; '
                        'tools/dataset_converters/jsonl_parquet.py converts JSON Lines'
                    )
            groups = RowGroupReader(files)
            if groups.num_rows == 0:
                raise CatalogueError(f'{files[0]}: the catalogue is empty; it has no row')
            self._groups = groups
            self._warn_of_memory()

    def _warn_of_memory(self) -> None:
        num_bytes = self._groups.num_bytes
        # a window ends with the row group that reaches its size
        largest = num_bytes.max(initial=0)
        window = self._window_rows * num_bytes.sum() / max(1, self._groups.num_rows) + largest
        windows = self.num_virtual_workers * self.num_shards // self.num_ranks
        held = 2 * min(windows * window, num_bytes.sum())
        if held > self.max_held:
            self.faults.warn(
                f'the workers of a rank will hold up to {held / 2**30:.0f} GiB together: '
                f'{windows} virtual workers with {self._window_rows} products each and a row '
                f'group of up to {largest / 2**20:.0f} MiB, twice while they read ahead. '
                'Lower shuffle_rows, num_virtual_workers or num_shards, or write smaller row '
                'groups (tools/dataset_converters/jsonl_parquet.py SOURCE TARGET --group-mib 16)'
            )

    def __len__(self) -> int:
        """Samples of this rank in an epoch; what fills no batch is left out."""
        self.full_init()
        return self._groups.num_rows // self.num_ranks

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration streams, from its beginning."""
        self._place[0], self._place[1] = epoch, 0
        self.faults.reset()

    def set_start(self, num_samples_this_rank: int) -> None:
        """Begin the next iteration after batches that were already used.

        Args:
            num_samples_this_rank: samples of the epoch that this rank has used: whole batches.
        """
        self._place[1] = num_samples_this_rank // self._batch_size()

    def on_epoch_end(self, epoch: int) -> None:
        """Log the faults of the epoch; the loop calls it in the main process of every rank."""
        start = int(self._place[1])
        self.faults.log(f'epoch {epoch}' + (f', from batch {start} on' if start else ''))

    @property
    def layout(self) -> dict:
        """What the order of an epoch follows from, beside seed, epoch and global batch."""
        self.full_init()
        return dict(
            rows=self._groups.num_rows,
            row_groups=len(self._groups.sizes),
            files_checksum=self._groups.checksum,
            sources=self.sources and sorted(self.sources),
            exclude_sources=self.exclude_sources and sorted(self.exclude_sources),
            first_picture=self.first_picture,
            where=str(self.filter),
            fixes=self._builder.fixes.sha256,
            num_shards=self.num_shards,
            num_virtual_workers=self.num_virtual_workers,
            shuffle_rows=self.shuffle_rows,
            shuffle=self.shuffle,
        )

    @property
    def _window_rows(self) -> int:
        return -(-self.shuffle_rows // self.num_virtual_workers)

    def _batch_size(self) -> int:
        if self.batch_size is None:
            raise ValueError(
                "ProductStream: 'batch_size' is not set; give the loader's, or train with "
                'ResumableTrainLoop, which does so'
            )
        if self.batch_size * self.num_ranks % self.num_shards:
            raise ValueError(
                f"ProductStream: 'num_shards' is {self.num_shards}, which does not divide "
                f'{self.num_ranks} batches of {self.batch_size}'
            )
        return self.batch_size

    def __iter__(self) -> Iterator[dict]:
        """The packed samples of this worker, batch after batch."""
        self.full_init()
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        if self.num_virtual_workers % num_workers:
            number = self.num_virtual_workers
            fitting = [str(n) for n in range(1, number + 1) if number % n == 0]
            raise ValueError(
                f'ProductStream: {num_workers} workers do not divide {number} virtual workers; '
                f"use {', '.join(fitting)} workers, or another 'num_virtual_workers'"
            )
        epoch, start = self._place.tolist()
        order = StreamOrder(
            self._groups.sizes,
            self._batch_size() * self.num_ranks,
            self.num_shards,
            self.num_virtual_workers,
            self._window_rows,
            self.seed,
            epoch,
            self.shuffle,
        )
        shards = range(self.rank, self.num_shards, self.num_ranks)
        samples: dict[int, list[Iterator[dict]]] = {}  # of virtual workers, from each shard
        with ThreadPoolExecutor(1) as pool:
            for batch in range(start + worker, order.num_batches, num_workers):
                virtual = batch % self.num_virtual_workers
                if virtual not in samples:
                    skip = order.batches_before(virtual, batch) * order.shard_batch_size
                    samples[virtual] = [
                        self._samples(order, s, virtual, skip, pool) for s in shards
                    ]
                for i in range(self.batch_size):  # one sample of each shard in turn
                    yield next(samples[virtual][i % len(shards)])

    def _samples(
        self,
        order: StreamOrder,
        shard: int,
        virtual_worker: int,
        skip: int,
        pool: ThreadPoolExecutor,
    ) -> Iterator[dict]:
        """Samples of a virtual worker from a shard, without the first ``skip``."""
        windows = order.windows(shard, virtual_worker)
        sizes = [sum(part.stop - part.start for part in window) for window in windows]
        at = int(np.searchsorted(np.cumsum(sizes), skip, side='right'))
        first = skip - sum(sizes[:at])
        note = self.faults.of(virtual_worker)

        def load(number: int) -> StreamWindow:
            shuffled = order.shuffled(shard, virtual_worker, number, sizes[number])
            return load_window(self._groups, order, windows[number], shuffled, self._wanted, note)

        ahead = pool.submit(load, at)
        for number in range(at, len(windows)):
            window, ahead = ahead.result(), None
            # one worker of one rank does so, once an epoch
            if (shard, virtual_worker, number) == (0, 0, at):
                self._warn_of_unseen_names(window)
            for place in range(first, sizes[number]):
                # Half way, so as not to hold two whole windows for long.
                if ahead is None and 2 * place + 2 >= sizes[number] and number + 1 < len(windows):
                    ahead = pool.submit(load, number + 1)
                yield self._sample(window, place, order.epoch, note)
            first = 0

    def _wanted(self, row: dict) -> list[int]:
        if self.filter:
            attributes = read_attributes(row.get('attributes'))
            if not self.filter.keeps(row.get('category'), attributes):
                return []
        pictures = wanted_pictures(row, self.sources, self.exclude_sources)
        fixes = self._builder.fixes
        return list(fixes.pictures(row['product_id'], pictures)) if fixes else pictures

    def _warn_of_unseen_names(self, window: StreamWindow) -> None:
        """A misspelt source would exclude nothing, or everything; a misspelt attribute all."""
        if unseen := self.filter.unseen():
            self.faults.warn(f'of the first {len(window.rows)} products {unseen}')
        unseen = sorted(set(self.sources or self.exclude_sources or ()) - window.sources)
        if unseen:
            self.faults.warn(
                f'none of the first {len(window.rows)} products has a picture of the source '
                f'{", ".join(map(repr, unseen))} (they have {", ".join(sorted(window.sources))}); '
                "is it misspelt in 'sources' or 'exclude_sources'?"
            )

    def _sample(self, window: StreamWindow, place: int, epoch: int, note: Callable) -> dict:
        own = window.rows[place]
        for found in window.candidates(place):
            key = (self.seed, epoch, found.number)
            if found is not own:  # it may replace several, or be drawn itself
                key = (*key, own.number)
            sample = self._builder.build(
                self._wanted(found.row),
                [image['source'] for image in found.row['images']],
                partial(load_stored, found.row, self._groups.file(found.group)),
                Attempts(key),
                lambda picture, error: note('pictures', error),
            )
            if sample is not None:
                if found is not own:
                    note('stand-ins', None)
                return sample
            window.hopeless.add(found.number)
        where = f'{self._groups.file(own.group)} around row {own.number} of the catalogue'
        if window.hopeless:
            raise ImageDecodeError(
                f'{self.faults.name}: no product of {where}, nor any that was tried of other row '
                'groups, has a readable picture; check that the pictures are where the catalogue '
                'says'
            )
        raise CatalogueError(
            f'{self.faults.name}: no row of {where} can be used, nor any of the row groups that '
            'follow; see the faults reported before'
            f' (sources: {self.sources}, exclude_sources: {self.exclude_sources}, where: '
            f'{self.filter or None})'
        )
