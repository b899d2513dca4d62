"""The order of a stream, checked on row counts alone."""

from itertools import chain

import numpy as np
import pytest

from eclip_mm.datasets.stream_order import StreamOrder

SIZES = [5, 0, 9, 1, 30, 7, 7, 12, 3, 26]  # 100 rows


def make_order(sizes=SIZES, batch_size=6, shards=2, workers=4, window=10, epoch=0, **options):
    """``workers`` are the virtual ones."""
    return StreamOrder(sizes, batch_size, shards, workers, window, seed=0, epoch=epoch, **options)


def rows_of(order, shard, worker):
    """(group, row in it) of a virtual worker as they are handed out."""
    rows = []
    for number, window in enumerate(order.windows(shard, worker)):
        here = [(part.group, i) for part in window for i in range(part.start, part.stop)]
        rows += [here[i] for i in order.shuffled(shard, worker, number, len(here))]
    return rows


def all_rows(order, shards=2, workers=4):
    return [rows_of(order, a, c) for a in range(shards) for c in range(workers)]


def test_virtual_workers_of_a_line_worked_out_by_hand():
    """10 + 10 + 10 rows, batches of 4, one shard, two workers: 7 batches, 16 and 12 rows."""
    order = make_order([10, 10, 10], batch_size=4, shards=1, workers=2, window=8, shuffle=False)
    assert order.num_batches == 7
    assert [order.batches_before(0, n) for n in (0, 1, 2, 3, 7)] == [0, 1, 1, 2, 4]
    assert [order.batches_before(1, n) for n in (0, 1, 2, 3, 7)] == [0, 0, 1, 1, 3]
    # 10 rows are 8 or more: each window is one group, or what the worker has of it
    assert order.windows(0, 0) == [[(0, 0, 10)], [(1, 0, 6)]]
    assert order.windows(0, 1) == [[(1, 6, 10), (2, 0, 8)]]
    assert list(order.groups_after(1)) == [2, 0, 1]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('shards', [1, 2, 3])
def test_an_epoch_hands_out_every_row_of_its_batches_once(shards, shuffle):
    order = make_order(shards=shards, shuffle=shuffle)
    parts = all_rows(order, shards)
    rows = list(chain(*parts))
    assert order.num_batches == 16
    assert len(rows) == len(set(rows)) == 96
    assert all(0 <= row < SIZES[group] for group, row in rows)
    # parts are whole batches: of 16 batches on 4 virtual workers, each has 4
    assert {len(part) for part in parts} == {4 * 6 // shards}


def test_a_row_group_is_read_by_one_virtual_worker_but_for_the_ends():
    readers = {}
    order = make_order()
    for worker, rows in enumerate(all_rows(order)):
        for group, _ in rows:
            readers.setdefault(group, set()).add(worker)
    # 8 parts have 7 inner ends
    assert sum(len(workers) - 1 for workers in readers.values()) <= 7


def test_windows_are_full_groups_in_memory():
    order = make_order([10] * 50, window=25, workers=1, shards=1, batch_size=5)
    sizes = [sum(p.stop - p.start for p in w) for w in order.windows(0, 0)]
    assert sizes == [30] * 16 + [20]


def test_epochs_and_seeds_differ_and_repeat():
    first, second = (all_rows(make_order(epoch=e)) for e in (0, 1))
    assert first != second
    assert first == all_rows(make_order(epoch=0))
    assert all_rows(StreamOrder(SIZES, 6, 2, 4, 10, seed=1, epoch=0)) not in (first, second)


def test_rows_are_mixed_within_and_groups_across():
    """A product has other neighbours in the next epoch."""
    order = make_order([20] * 100, shards=1, workers=1, window=200, batch_size=10)
    rows = rows_of(order, 0, 0)
    groups = np.array([group for group, _ in rows[:200]])
    assert len(set(groups.tolist())) == 10  # ten random groups are in memory
    assert (np.diff(groups) != 0).mean() > 0.8  # and mixed: 0.9 expected
    assert set(groups.tolist()) != set(range(10))


def test_more_virtual_workers_than_batches():
    order = make_order([4], batch_size=3, shards=1, workers=8)
    assert [len(rows_of(order, 0, c)) for c in range(8)] == [3] + [0] * 7
