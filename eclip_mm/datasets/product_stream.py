"""Products for pretraining, streamed from Parquet in constant memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_dist_info
from torch.utils.data import IterableDataset, get_worker_info

from eclip_mm.datasets.catalogue_dataset import build_pipeline
from eclip_mm.datasets.picture_choice import check_choice, check_sources
from eclip_mm.datasets.storage.parquet_groups import ParquetGroups
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.stream_faults import StreamFaults
from eclip_mm.datasets.stream_order import StreamOrder
from eclip_mm.datasets.stream_samples import SampleMaker
from eclip_mm.datasets.stream_window import StreamWindow, load_window
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.registry import DATASETS


@DATASETS.register_module()
class ProductStream(IterableDataset):
    """A text and ``num_images`` pictures of one product after the other.

    What :class:`~eclip_mm.datasets.ProductDataset` gives, read row group by
    row group: there is no index, and memory does not grow with the catalogue.
    :mod:`~eclip_mm.datasets.stream_order` has the order. It does not depend on
    the number of workers, and begins at any batch without what came before.
    ``ResumableTrainLoop`` sets the epoch, the first batch and the batch size.

    A faultless product gives the sample that ``ProductDataset`` makes of it.
    Every step needs its batch, so another product stands in for a row that
    cannot be used or has no picture of the sources asked for, one of those in
    memory if possible; faults are counted, and the first of each epoch logged.
    That ids are unique is not checked.

    Args:
        catalogue: See
            :class:`~eclip_mm.datasets.storage.parquet_groups.ParquetGroups`.
        pipeline: Transforms.
        num_images: Pictures per sample.
        seed: Seed of the order and of every random choice.
        strict: Raise at the first fault.
        sources: Use only pictures of these sources.
            Products without any are not left out but stood in for: where many
            have none, write a catalogue without them.
        exclude_sources: Use no picture of these.
        first_picture: As for ``ProductDataset``.
        shuffle: Shuffle row groups, and rows in memory.
        shuffle_rows: Products that the lanes of a share hold together,
            twice while they read ahead (when half of a lane's rows are handed
            out). Each lane shuffles its part, ``shuffle_rows / num_lanes``, and
            a batch of a share comes from one lane. A lane holds one row group
            at least.
        num_lanes: The number of workers divides it, or is 0. The order
            depends on it.
        num_shares: The number of ranks divides it, and it
            divides the batch of all ranks. The order depends on it, and not on
            the number of ranks, which hold the products of their shares.
            Defaults to the number of ranks.
        storage_options: For the file system.
        batch_size: Of the loader, which must drop the last,
            shorter batch; needed where no ``ResumableTrainLoop`` sets it.
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
        shuffle: bool = True,
        shuffle_rows: int = 2048,
        num_lanes: int = 8,
        num_shares: int | None = None,
        storage_options: dict | None = None,
        batch_size: int | None = None,
    ) -> None:
        check_choice('ProductStream', num_images, first_picture)
        check_sources('ProductStream', sources, exclude_sources)
        self.rank, self.num_ranks = get_dist_info()
        self.num_shares = self.num_ranks if num_shares is None else num_shares
        for name, value in (('shuffle_rows', shuffle_rows), ('num_lanes', num_lanes)):
            if value < 1:
                raise ValueError(f"ProductStream: '{name}' is {value}, give at least 1")
        if self.num_shares < 1 or self.num_shares % self.num_ranks:
            raise ValueError(
                f"ProductStream: 'num_shares' is {self.num_shares}; give a multiple of the "
                f'number of ranks, {self.num_ranks}'
            )
        self.catalogue = catalogue
        self.storage_options = storage_options
        self.seed = seed
        self.shuffle = shuffle
        self.shuffle_rows = shuffle_rows
        self.num_lanes = num_lanes
        self.batch_size = batch_size
        self.faults = StreamFaults(num_lanes, f'ProductStream({catalogue})', strict)
        self._maker = SampleMaker(
            build_pipeline(pipeline), num_images, first_picture, sources, exclude_sources
        )
        self._groups: ParquetGroups | None = None
        # epoch and first batch, in memory that workers share
        self._place = torch.zeros(2, dtype=torch.int64).share_memory_()

    @property
    def metainfo(self) -> dict:
        """Plain dict that mmengine's loops hand to metrics and visualizers."""
        return dict(dataset_type='product_catalogue')

    def full_init(self) -> None:
        """Read the footers of the files; mmengine calls it once."""
        if self._groups is None:
            self._groups = ParquetGroups(self.catalogue, self.storage_options)
            self._warn_of_memory()

    def _warn_of_memory(self) -> None:
        rows, num_bytes = self._groups.sizes, self._groups.num_bytes
        # a window ends with the row group that reaches its size
        window = self._window_rows * num_bytes.sum() / max(1, rows.sum()) + num_bytes.max(
            initial=0
        )
        lanes = self.num_lanes * self.num_shares // self.num_ranks
        held = 2 * min(lanes * window, num_bytes.sum())
        if held > self.max_held:
            self.faults.tell(
                f'the workers of a rank will hold up to {held / 2**30:.0f} GiB together: {lanes} '
                f'lanes with {self._window_rows} products each and a row group of up to '
                f'{num_bytes.max() / 2**20:.0f} MiB, twice while they read ahead. Lower '
                'shuffle_rows, num_lanes or num_shares, or write smaller row groups '
                '(tools/dataset_converters/jsonl_parquet.py SOURCE TARGET --group-mib 16)'
            )

    def __len__(self) -> int:
        """Samples of this rank in an epoch; what fills no batch is left out."""
        self.full_init()
        return int(self._groups.sizes.sum()) // self.num_ranks

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration streams, from its beginning."""
        self._place[0], self._place[1] = epoch, 0
        self.faults.reset()

    def set_start(self, num_samples_this_rank: int) -> None:
        """Begin the next iteration after batches that were already used.

        Args:
            num_samples_this_rank: Samples of the epoch that this rank
                has used: whole batches.
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
            rows=int(self._groups.sizes.sum()),
            row_groups=len(self._groups.sizes),
            files_checksum=self._groups.checksum,
            sources=self._maker.sources and sorted(self._maker.sources),
            exclude_sources=self._maker.exclude_sources and sorted(self._maker.exclude_sources),
            first_picture=self._maker.first_picture,
            num_shares=self.num_shares,
            num_lanes=self.num_lanes,
            shuffle_rows=self.shuffle_rows,
            shuffle=self.shuffle,
        )

    @property
    def _window_rows(self) -> int:
        return -(-self.shuffle_rows // self.num_lanes)

    def _batch_size(self) -> int:
        if self.batch_size is None:
            raise ValueError(
                "ProductStream: 'batch_size' is not set; give the loader's, or train with "
                'ResumableTrainLoop, which does so'
            )
        if self.batch_size * self.num_ranks % self.num_shares:
            raise ValueError(
                f"ProductStream: 'num_shares' is {self.num_shares}, which does not divide "
                f'{self.num_ranks} batches of {self.batch_size}'
            )
        return self.batch_size

    def _order(self, epoch: int) -> StreamOrder:
        return StreamOrder(
            self._groups.sizes,
            self._batch_size() * self.num_ranks,
            self.num_shares,
            self.num_lanes,
            self._window_rows,
            self.seed,
            epoch,
            self.shuffle,
        )

    def __iter__(self) -> Iterator[dict]:
        """The packed samples of this worker, batch after batch."""
        self.full_init()
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        if self.num_lanes % num_workers:
            fitting = [n for n in range(1, self.num_lanes + 1) if self.num_lanes % n == 0]
            raise ValueError(
                f'ProductStream: {num_workers} workers do not divide {self.num_lanes} lanes; use '
                f"{', '.join(map(str, fitting))} workers, or another 'num_lanes'"
            )
        epoch, start = self._place.tolist()
        order = self._order(epoch)
        shares = range(self.rank, self.num_shares, self.num_ranks)
        lanes: dict[int, list[Iterator[dict]]] = {}
        with ThreadPoolExecutor(1) as reader:
            for batch in range(start + worker, order.num_batches, num_workers):
                lane = batch % self.num_lanes
                if lane not in lanes:
                    skip = order.batches_before(lane, batch) * order.lane_batch
                    lanes[lane] = [self._lane(order, a, lane, skip, reader) for a in shares]
                for i in range(self.batch_size):  # cards of each share in turn
                    yield next(lanes[lane][i % len(shares)])

    def _lane(
        self, order: StreamOrder, share: int, lane: int, skip: int, reader: ThreadPoolExecutor
    ) -> Iterator[dict]:
        """Samples of a lane, without its first ``skip``."""
        windows = order.windows(share, lane)
        sizes = [sum(piece.stop - piece.start for piece in pieces) for pieces in windows]
        at = int(np.searchsorted(np.cumsum(sizes), skip, side='right'))
        first = skip - sum(sizes[:at])
        note = self.faults.of_lane(lane)

        def load(number: int) -> StreamWindow:
            shuffled = order.shuffled(share, lane, number, sizes[number])
            wanted = self._maker.pictures
            return load_window(self._groups, order, windows[number], shuffled, wanted, note)

        ahead = reader.submit(load, at)
        for number in range(at, len(windows)):
            window, ahead = ahead.result(), None
            if (share, lane, number) == (0, 0, at):  # one worker of one rank, once an epoch
                self._warn_of_unseen_sources(window)
            for place in range(first, sizes[number]):
                # Half way, so as not to hold two whole windows for long.
                if ahead is None and 2 * place + 2 >= sizes[number] and number + 1 < len(windows):
                    ahead = reader.submit(load, number + 1)
                yield self._sample(window, place, order.epoch, lane)
            first = 0

    def _warn_of_unseen_sources(self, window: StreamWindow) -> None:
        """A misspelt source would exclude nothing, or everything."""
        named = self._maker.sources or self._maker.exclude_sources or ()
        unseen = sorted(set(named) - window.sources)
        if unseen:
            self.faults.tell(
                f'none of the first {len(window.slots)} products has a picture of the source '
                f'{", ".join(map(repr, unseen))} (they have {", ".join(sorted(window.sources))}); '
                "is it misspelt in 'sources' or 'exclude_sources'?"
            )

    def _sample(self, window: StreamWindow, place: int, epoch: int, lane: int) -> dict:
        own, note = window.slots[place], self.faults.of_lane(lane)
        for slot in window.candidates(place):
            key = (self.seed, epoch, slot.number)
            if slot is not own:  # it may do so more than once, or come itself
                key = (*key, own.number)
            sample = self._maker.make(slot, key, self._groups, note)
            if sample is not None:
                if slot is not own:
                    note('stand-ins', None)
                return sample
            window.hopeless.add(slot.number)
        where = self._groups.path(own.group)
        if window.hopeless:
            raise ImageDecodeError(
                f'{self.faults.name}: no product of {where} around row {own.number} of the '
                'catalogue, nor any that was tried of other row groups, has a readable picture; '
                'check that the pictures are where the catalogue says'
            )
        raise CatalogueError(
            f'{self.faults.name}: no row of {where} around row {own.number} of the catalogue can '
            'be used, nor any of the row groups that follow; see the faults reported before'
            f' (sources: {self._maker.sources}, exclude_sources: {self._maker.exclude_sources})'
        )
