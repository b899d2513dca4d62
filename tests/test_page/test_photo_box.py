"""The box on a photo: typed, clicked and drawn."""

import numpy as np
import pytest

from eclip_mm.page.photo_box import SHOWN_SIDE, framed, parse_box, with_corner
from helpers.catalogues import plain_png

PHOTO = plain_png(90, width=2 * SHOWN_SIDE, height=SHOWN_SIDE)  # shown at half its size


def test_two_clicks_are_corners_and_a_third_begins_again():
    text = with_corner(PHOTO, '', (10, 20))
    assert text == '20 40'
    text = with_corner(PHOTO, text, (300, 200))
    assert text == '20 40 600 400' and parse_box(text) == (20, 40, 600, 400)
    assert with_corner(PHOTO, text, (1, 2)) == '2 4'


@pytest.mark.parametrize('text', ['', '  '])
def test_no_box_is_the_whole_photo(text):
    assert parse_box(text) is None


@pytest.mark.parametrize(
    'text', ['1 2', '1 2 3 4 5', 'a b c d', '1;2;3;4', 'nan 2 3 4', '1 2 inf 4']
)
def test_other_texts_are_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match='A box is four numbers'):
        parse_box(text)
    assert parse_box('1, 2,3 4.5') == (1, 2, 3, 4.5)


def test_the_frame_is_where_the_box_is():
    shown = np.asarray(framed(PHOTO, (200, 100, 400, 300)))
    assert shown.shape == (SHOWN_SIDE // 2, SHOWN_SIDE, 3)
    changed = np.argwhere((shown != 90).any(axis=2))
    assert np.abs(changed.min(axis=0) - [50, 100]).max() <= 2
    assert np.abs(changed.max(axis=0) - [150, 200]).max() <= 2
    assert (np.asarray(framed(PHOTO, None)) == 90).all()
