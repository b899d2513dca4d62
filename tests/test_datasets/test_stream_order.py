"""The order of a stream, checked on row counts alone."""

from itertools import chain

import numpy as np
import pytest

from eclip_mm.datasets.stream_order import StreamOrder

SIZES = [5, 0, 9, 1, 30, 7, 7, 12, 3, 26]  # 100 rows


def make_order(sizes=SIZES, batch_size=6, shares=2, lanes=4, window=10, epoch=0, **options):
    return StreamOrder(sizes, batch_size, shares, lanes, window, seed=0, epoch=epoch, **options)


def lane_rows(order, share, lane):
    """(group, row in it) of a lane as they are handed out."""
    rows = []
    for number, pieces in enumerate(order.windows(share, lane)):
        here = [(p.group, i) for p in pieces for i in range(p.start, p.stop)]
        rows += [here[i] for i in order.shuffled(share, lane, number, len(here))]
    return rows


def all_lanes(order, shares=2, lanes=4):
    return [lane_rows(order, a, c) for a in range(shares) for c in range(lanes)]


def test_lanes_of_a_hand_worked_line():
    """10 + 10 + 10 rows, batches of 4 of one share on two lanes: 7 batches, 16 and 12 rows."""
    order = make_order([10, 10, 10], batch_size=4, shares=1, lanes=2, window=8, shuffle=False)
    assert order.num_batches == 7
    assert [order.batches_before(0, n) for n in (0, 1, 2, 3, 7)] == [0, 1, 1, 2, 4]
    assert [order.batches_before(1, n) for n in (0, 1, 2, 3, 7)] == [0, 0, 1, 1, 3]
    # 10 rows are 8 or more: each window is one group, or what the lane has of it
    assert order.windows(0, 0) == [[(0, 0, 10)], [(1, 0, 6)]]
    assert order.windows(0, 1) == [[(1, 6, 10), (2, 0, 8)]]
    assert list(order.groups_after(1)) == [2, 0, 1]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('shares', [1, 2, 3])
def test_an_epoch_hands_out_every_row_of_its_batches_once(shares, shuffle):
    order = make_order(shares=shares, shuffle=shuffle)
    lanes = all_lanes(order, shares)
    rows = list(chain(*lanes))
    assert order.num_batches == 16
    assert len(rows) == len(set(rows)) == 96
    assert all(0 <= row < SIZES[group] for group, row in rows)
    # lanes are whole batches: of 16 batches on 4 lanes, each has 4
    assert {len(lane) for lane in lanes} == {4 * 6 // shares}


def test_a_row_group_is_read_by_one_lane_but_for_the_ends():
    readers = {}
    order = make_order()
    for lane, rows in enumerate(all_lanes(order)):
        for group, _ in rows:
            readers.setdefault(group, set()).add(lane)
    # 8 lanes have 7 inner ends
    assert sum(len(lanes) - 1 for lanes in readers.values()) <= 7


def test_windows_are_full_groups_in_memory():
    order = make_order([10] * 50, window=25, lanes=1, shares=1, batch_size=5)
    sizes = [sum(p.stop - p.start for p in w) for w in order.windows(0, 0)]
    assert sizes == [30] * 16 + [20]


def test_epochs_and_seeds_differ_and_repeat():
    first, second = (all_lanes(make_order(epoch=e)) for e in (0, 1))
    assert first != second
    assert first == all_lanes(make_order(epoch=0))
    assert all_lanes(StreamOrder(SIZES, 6, 2, 4, 10, seed=1, epoch=0)) not in (first, second)


def test_rows_are_mixed_within_and_groups_across():
    """A product's neighbours of one epoch are others in the next."""
    order = make_order([20] * 100, shares=1, lanes=1, window=200, batch_size=10)
    rows = lane_rows(order, 0, 0)
    groups = np.array([group for group, _ in rows[:200]])
    assert len(set(groups.tolist())) == 10  # ten random groups are in memory
    assert (np.diff(groups) != 0).mean() > 0.8  # and mixed: 0.9 expected
    assert set(groups.tolist()) != set(range(10))


def test_more_lanes_than_batches():
    order = make_order([4], batch_size=3, shares=1, lanes=8)
    assert [len(lane_rows(order, 0, c)) for c in range(8)] == [3] + [0] * 7
