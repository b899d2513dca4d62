"""Reading mmengine's logs, and curves as pictures."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from eclip_mm.visualization.curves import (
    default_keys,
    find_scalars,
    load_curves,
    over_seeds,
    plot_curves,
    smooth,
)


def train_row(iteration, loss, epoch=1):
    return dict(
        lr=0.1,
        data_time=0.1,
        loss=loss,
        loss_itc=loss / 2,
        time=0.2,
        epoch=epoch,
        iter=iteration,
        step=iteration,
    )


def val_row(step, right_box):
    return {
        'photos/right_box': right_box,
        'photos/right_box_chance': 0.25,
        'photos/R@5': 0.5,
        'photos/R@5_chance': 0.1,
        'photos/num_photos': 8,
        'data_time': 0.1,
        'step': step,
    }


def write_log(work_dir, name, rows):
    path = work_dir / name / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def as_lists(curve):
    return curve[0].tolist(), curve[1].tolist()


def test_validation_by_epoch_lands_on_iterations(tmp_path):
    path = write_log(
        tmp_path,
        '1',
        [
            train_row(4, 2.0),
            train_row(8, 1.0),
            val_row(1, 0.5),
            train_row(12, 0.5, 2),
            train_row(16, 0.25, 2),
            val_row(2, 0.75),
        ],
    )
    curves = load_curves(path)
    assert as_lists(curves['loss']) == ([4, 8, 12, 16], [2, 1, 0.5, 0.25])
    assert as_lists(curves['photos/right_box']) == ([8, 16], [0.5, 0.75])
    assert 'time' not in curves and 'epoch' not in curves and 'lr' in curves


def test_validation_by_iteration_keeps_its_own(tmp_path):
    path = write_log(tmp_path, '1', [train_row(50, 2.0), val_row(64, 0.5)])
    assert as_lists(load_curves(path)['photos/right_box']) == ([64], [0.5])


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    write_log(
        tmp_path,
        '20240101_000000',
        [
            train_row(4, 4.0),
            val_row(1, 0.1),
            train_row(8, 3.0),
            val_row(2, 0.2),
            train_row(12, 9.0),
            val_row(3, 0.9),
        ],
    )
    write_log(tmp_path, '20240102_000000', [train_row(12, 2.0), val_row(3, 0.3)])
    assert len(find_scalars(tmp_path)) == 2
    curves = load_curves(tmp_path)
    assert as_lists(curves['loss']) == ([4, 8, 12], [4, 3, 2])
    assert as_lists(curves['photos/right_box']) == ([4, 8, 12], [0.1, 0.2, 0.3])


def test_damaged_logs(tmp_path):
    path = write_log(tmp_path, '1', [train_row(4, 2.0)])
    path.write_text(path.read_text() + '{"loss": 1.0, "it')  # killed while writing
    assert as_lists(load_curves(path)['loss']) == ([4], [2])
    path.write_text('oops\n' + path.read_text())
    with pytest.raises(ValueError, match='scalars.json, line 1'):
        load_curves(path)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        load_curves(tmp_path / 'nowhere')


def test_smoothing():
    values = np.array([1.0, 3.0])
    assert smooth(values, 0).tolist() == [1, 3]
    # weights .5 and .25 over .75
    np.testing.assert_allclose(smooth(values, 0.5), [1, (0.5 * 3 + 0.25 * 1) / 0.75])
    np.testing.assert_allclose(smooth(np.full(9, 2.0), 0.9), 2)
    with pytest.raises(ValueError, match='smoothing'):
        smooth(values, 1)


def test_pictures_of_two_runs(tmp_path):
    for name, loss in (('a', 1.0), ('b', 2.0)):
        write_log(tmp_path / name, '1', [train_row(4, loss), val_row(1, loss / 4)])
    curves = {name: load_curves(tmp_path / name) for name in 'ab'}
    assert default_keys(curves) == ['loss', 'loss_itc', 'photos/right_box']
    out = plot_curves(
        {'ECLIP': tmp_path / 'a', 'CLIP': tmp_path / 'b'},
        tmp_path / 'new' / 'curves.png',
        smoothing=0.5,
    )
    with Image.open(out) as image:
        pixels = np.asarray(image.convert('RGB')).reshape(-1, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # both runs are drawn
        assert (pixels == colour).all(1).sum() > 20
    with pytest.raises(KeyError, match='nothing'):
        plot_curves({'a': tmp_path / 'a'}, tmp_path / 'x.png', keys=['nothing'])
    write_log(tmp_path / 'c', '1', [dict(lr=0.1, iter=1)])
    with pytest.raises(ValueError, match="hold no loss.*'lr'"):
        plot_curves({'c': tmp_path / 'c'}, tmp_path / 'x.png')


def test_seeds_are_restricted_to_common_iterations():
    one = np.array([4, 8, 12]), np.array([1.0, 2.0, 3.0])
    two = np.array([8, 12, 16]), np.array([4.0, 5.0, 6.0])
    steps, values = over_seeds([one, two])
    assert steps.tolist() == [8, 12] and values.tolist() == [[2, 3], [4, 5]]
    assert over_seeds([one, (np.array([5]), np.array([1.0]))])[1].shape == (2, 0)


def test_a_label_of_several_seeds_is_a_mean_in_a_band(tmp_path):
    for name, loss in (('a', 1.0), ('b', 3.0)):
        write_log(tmp_path / name, '1', [train_row(4, loss), train_row(8, loss)])
    drawn = {}
    for label, runs in (
        ('one', tmp_path / 'a'),
        ('same', [tmp_path / 'a', tmp_path / 'a']),
        ('seeds', [tmp_path / 'a', tmp_path / 'b']),
    ):
        out = plot_curves({'run': runs}, tmp_path / f'{label}.png', ['loss'], smoothing=0.5)
        with Image.open(out) as image:
            pixels = np.asarray(image.convert('RGB')).astype(int)
        # 20% of the line's blue (0, 114, 178) on white
        drawn[label] = (abs(pixels - (204, 227, 240)).max(-1) <= 2).mean()
    assert drawn['one'] < 0.001 and drawn['same'] < 0.001 and drawn['seeds'] > 0.2


def test_no_global_matplotlib_state(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.pyplot', None)  # importing it would fail
    write_log(tmp_path, '1', [train_row(4, 1.0)])
    assert plot_curves({'a': tmp_path}, tmp_path / 'curves.png').is_file()
