import pytest

from eclip_mm.datasets import ResumableSampler, samplers


class Sized:
    """A dataset that knows epochs by the index."""

    def __init__(self, size):
        self.size = size
        self.epochs = []

    def __len__(self):
        return self.size

    @property
    def epoch_stride(self):
        return self.size

    def on_epoch_start(self, epoch):
        self.epochs.append(epoch)


def deal(size, world_size, epoch=0, start=0, monkeypatch=None, **options):
    """Indices of each rank."""
    ranks = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda r=rank: (r, world_size))
        sampler = ResumableSampler(Sized(size), seed=11, **options)
        sampler.set_epoch(epoch)
        sampler.set_start(start)
        ranks.append(list(sampler))
    return ranks


def global_batches(ranks, batch_size):
    share = batch_size // len(ranks)
    steps = len(ranks[0]) // share
    return [
        sorted(i for rank in ranks for i in rank[k * share : (k + 1) * share])
        for k in range(steps)
    ]


@pytest.mark.parametrize('world_size', [2, 3, 6])
@pytest.mark.parametrize('num_passes', [1, 3])
def test_global_batches_do_not_depend_on_the_number_of_ranks(monkeypatch, world_size, num_passes):
    one = global_batches(deal(101, 1, epoch=2, num_passes=num_passes, monkeypatch=monkeypatch), 12)
    many = global_batches(
        deal(101, world_size, epoch=2, num_passes=num_passes, monkeypatch=monkeypatch), 12
    )
    assert len(one) == 101 * num_passes // 12
    assert many == one[: len(many)]
    assert len(many) >= len(one) - 1


def test_an_epoch_is_a_permutation_and_ranks_share_nothing(monkeypatch):
    (one,) = deal(50, 1, monkeypatch=monkeypatch)
    assert sorted(one) == list(range(50))
    assert one != sorted(one)
    ranks = deal(50, 4, monkeypatch=monkeypatch)
    assert [len(rank) for rank in ranks] == [12] * 4
    assert len({i for rank in ranks for i in rank}) == 48


def test_epochs_differ_and_count_on(monkeypatch):
    epochs = [deal(50, 1, epoch=e, monkeypatch=monkeypatch)[0] for e in range(3)]
    for e, indices in enumerate(epochs):
        assert sorted(indices) == list(range(50 * e, 50 * e + 50))
    assert len({tuple(i % 50 for i in indices) for indices in epochs}) == 3
    assert deal(50, 1, epoch=2, monkeypatch=monkeypatch)[0] == epochs[2]
    # Neighbouring seeds do not give the same permutations.
    other = ResumableSampler(Sized(50), seed=12)
    assert list(other) != [i - 50 for i in epochs[1]]


def test_passes_have_orders_of_their_own(monkeypatch):
    """Epoch e of three passes is the passes 3e, 3e + 1, 3e + 2 of single-pass epochs."""
    (three,) = deal(20, 1, epoch=2, num_passes=3, monkeypatch=monkeypatch)
    single = [deal(20, 1, epoch=e, monkeypatch=monkeypatch)[0] for e in (6, 7, 8)]
    assert three == [i for indices in single for i in indices]


@pytest.mark.parametrize('world_size', [1, 2])
def test_begins_in_the_middle_once(monkeypatch, world_size):
    whole = deal(40, world_size, epoch=1, monkeypatch=monkeypatch)
    rest = deal(40, world_size, epoch=1, start=7, monkeypatch=monkeypatch)
    assert rest == [rank[7:] for rank in whole]
    monkeypatch.undo()
    sampler = ResumableSampler(Sized(40), seed=11)
    sampler.set_start(39)
    sampler.set_epoch(0)
    assert len(sampler) == 40  # of a whole epoch, which progress and schedules count in
    assert len(list(sampler)) == 1
    sampler.set_epoch(1)
    assert len(list(sampler)) == 40


def test_start_outside_the_epoch():
    sampler = ResumableSampler(Sized(10), seed=0)
    sampler.set_start(10)
    assert list(sampler) == []
    for start in (-1, 11):
        with pytest.raises(ValueError, match='another dataset, batch size or number of ranks'):
            sampler.set_start(start)


def test_order_is_kept_without_shuffling(monkeypatch):
    assert deal(7, 2, shuffle=False, monkeypatch=monkeypatch) == [[0, 2, 4], [1, 3, 5]]


def test_only_datasets_with_the_method_get_the_epoch():
    dataset = Sized(5)
    sampler = ResumableSampler(dataset, seed=0)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        list(sampler)
    assert dataset.epochs == [0, 1, 2]
    plain = ResumableSampler(range(5), seed=0)
    plain.set_epoch(3)
    assert sorted(plain) == [0, 1, 2, 3, 4]


def test_more_ranks_than_samples(monkeypatch):
    with pytest.raises(ValueError, match='cannot be dealt to 4 ranks'):
        deal(3, 4, monkeypatch=monkeypatch)


def test_without_a_seed_the_ranks_agree_upon_one():
    assert isinstance(ResumableSampler(range(3)).seed, int)
