import pytest
import torch

from eclip_mm.models import ProductDataPreprocessor, ProductMosaic
from eclip_mm.structures import ProductDataSample


def colours(count, side=32):
    """(B, 2, 3, side, side): row b is b + 1 everywhere."""
    return torch.arange(1.0, count + 1).view(-1, 1, 1, 1, 1).expand(-1, 2, 3, side, side)


def mosaics_of(images, product_ids, **options):
    """Antialiasing keeps the colour of a plain picture but for float32's last digits."""
    mosaics = ProductMosaic(prob=1.0, **options)(images, product_ids)
    torch.testing.assert_close(mosaics, mosaics.round(), rtol=0, atol=1e-4)
    return mosaics.round()


@pytest.mark.parametrize('grid', [2, 3])
def test_each_cell_is_one_picture_and_one_cell_is_the_own(grid):
    torch.manual_seed(0)
    count = 12
    images = colours(count)
    mosaics = mosaics_of(images, [f'p{i}' for i in range(count)], grids=[grid])
    assert torch.equal(mosaics[:, 1], images[:, 1])
    for row, mosaic in enumerate(mosaics[:, 0]):
        shown = mosaic.unique()
        assert len(shown) == grid**2 and row + 1 in shown
        # a colour is a rectangle: as many pixels as its rows times its columns
        for colour in shown:
            mask = mosaic[0] == colour
            assert mask.sum() == mask.any(0).sum() * mask.any(1).sum()


def test_a_cell_is_the_whole_picture_made_smaller():
    """With neighbours that equal it, the own picture's cell has its four quarters."""
    torch.manual_seed(0)
    images = torch.zeros(4, 1, 3, 8, 8)
    images[:, :, :, :4, 4:], images[:, :, :, 4:, :4] = 1.0, 2.0  # upper right, lower left
    mosaic = ProductMosaic(prob=1.0, jitter=0.0)(images, list('abcd'))[0, 0, 0]
    # antialiased halving mixes neighbours only at the edges of a quarter; corners are pure
    for y in (0, 4):
        for x in (0, 4):
            cell = mosaic[y : y + 4, x : x + 4]
            assert [cell[0, 0], cell[0, 3], cell[3, 0], cell[3, 3]] == [0, 1, 2, 0]


def test_places_are_drawn_evenly_and_edges_move():
    torch.manual_seed(0)
    images = colours(5)
    places, edges = [], set()
    for _ in range(80):
        for row, mosaic in enumerate(mosaics_of(images, list('abcde'), jitter=0.25)[:, 0, 0]):
            ys, xs = (mosaic == row + 1).nonzero().unbind(1)
            places.append((int(ys.min() > 0), int(xs.min() > 0)))
            edges.add(int(ys.min()) or int(ys.max()) + 1)
    # 400 draws of probability 1/4: standard deviation 8.7, four of them
    assert all(abs(places.count(p) - 100) < 35 for p in set(places)) and len(set(places)) == 4
    assert edges == set(range(12, 21))  # 16 -/+ a quarter of 16


def test_share_and_products_that_are_too_few():
    torch.manual_seed(0)
    images = colours(400, side=4)
    mosaics = ProductMosaic(prob=0.3)(images, [str(i) for i in range(400)])
    changed = (mosaics != images).flatten(1).any(1).sum()
    assert abs(changed - 120) < 4 * (400 * 0.3 * 0.7) ** 0.5
    # three products, the same one several times: no mosaic of four different ones
    names = ['a', 'b', 'c', 'a', 'b']
    assert torch.equal(ProductMosaic(prob=1.0)(images[:5], names), images[:5])
    names = ['a', 'b', 'c', 'd', 'a']
    mosaics = mosaics_of(images[:5], names)
    assert all(len(m.unique()) == 4 for m in mosaics[:, 0])
    assert not (mosaics[0, 0] == 5).any() and not (mosaics[4, 0] == 1).any()  # both are 'a'


def test_only_training_and_only_by_config():
    samples = []
    for name in 'abcd':
        samples.append(ProductDataSample())
        samples[-1].set_metainfo(dict(product_id=name))
    data = dict(inputs=dict(images=colours(4).byte()), data_samples=samples)
    augmenting = ProductDataPreprocessor(batch_augment=dict(type='ProductMosaic', prob=1.0))
    plain = ProductDataPreprocessor()(data, training=True)['inputs']['images']
    assert torch.equal(augmenting(data)['inputs']['images'], plain)
    assert not torch.equal(augmenting(data, training=True)['inputs']['images'], plain)


@pytest.mark.parametrize('wrong', [dict(prob=1.5), dict(grids=(1,)), dict(jitter=0.5)])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProductMosaic(**wrong)
