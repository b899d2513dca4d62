"""Bars with intervals: the drawn values are the given ones."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from eclip_mm.visualization import plot_ablation_bars

FIGURES = {
    'fine': dict(clip=(0.1, 0.05, 0.15), eclip=(0.4, 0.3, 0.5)),
    'box': dict(eclip=(0.8, None, None)),
}


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure,
        'savefig',
        lambda self, *args, **kwargs: (figures.append(self), save(self, *args, **kwargs)),
    )
    return figures


def test_bars_intervals_and_chance_are_those_given(tmp_path, drawn):
    path = plot_ablation_bars(FIGURES, tmp_path / 'new/bars.png', dict(fine=0.02), title='T')
    fine, box = drawn[0].axes
    assert [bar.get_width() for bar in fine.patches] == pytest.approx([10, 40])
    (clip, eclip) = [line.get_segments()[0][:, 0].tolist() for line in fine.collections]
    assert clip == pytest.approx([5, 15]) and eclip == pytest.approx([30, 50])
    assert [line.get_xdata()[0] for line in fine.lines if line.get_linestyle() == ':'] == [2.0]
    assert [label.get_text() for label in fine.get_yticklabels()] == ['clip', 'eclip']
    # a run without the figure keeps its row; a single value has no interval
    assert [text.get_text().strip() for text in box.texts] == ['missing']
    assert [bar.get_y() + bar.get_height() / 2 for bar in box.patches] == pytest.approx([1])
    assert not box.collections
    with Image.open(path) as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 10


@pytest.mark.parametrize('high', [0.1, 0.3, 0.6999, 0.9999, 1.5])
def test_no_two_labels_overlap(tmp_path, drawn, high):
    runs = {f'run number {i} of them': (high / 2, 0.0, high) for i in range(9)}
    figures = {f'photos/figure_{i}': runs for i in range(6)}
    plot_ablation_bars(figures, tmp_path / 'bars.png', title='T')
    texts = [
        text.get_window_extent()
        for axis in drawn[0].axes
        for text in [axis.title, *axis.get_xticklabels(), *axis.get_yticklabels()]
        if text.get_visible() and text.get_text()
        # a tick past the end of the axis has a label, which is not drawn
        if text not in axis.get_xticklabels() or text.get_position()[0] <= axis.get_xlim()[1]
    ]
    assert len(texts) > 40
    for i, box in enumerate(texts):
        assert not any(box.overlaps(other) for other in texts[:i])


@pytest.mark.parametrize('figures', [{}, dict(fine={}), dict(FIGURES, empty={})])
def test_nothing_to_draw_is_an_error(tmp_path, figures):
    with pytest.raises(ValueError, match='no bars to draw'):
        plot_ablation_bars(figures, tmp_path / 'bars.png')
