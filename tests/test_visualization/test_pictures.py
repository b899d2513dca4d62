"""Score maps and retrieval sheets: positions and colours, read back from the pixels."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from eclip_mm.visualization import (
    draw_score_map,
    overlay_score_map,
    retrieval_sheet,
    score_map_sheet,
)
from eclip_mm.visualization.canvas import (
    GREEN,
    GREY,
    ORANGE,
    WHITE,
    draw_frame,
    draw_tags,
    fit_scale,
    grid,
    load_font,
    to_pil,
    wrap_text,
)

PHOTO = np.full((64, 64, 3), 128, np.uint8)
MAP = np.zeros((8, 8))
MAP[1, 6] = 1  # upper right


def count(image, colour):
    return int((np.asarray(image) == colour).all(-1).sum())


def test_overlay_is_bright_where_the_score_is():
    pixels = np.asarray(overlay_score_map(PHOTO, MAP).convert('L'), float)
    y, x = np.unravel_index(pixels.argmax(), pixels.shape)
    assert abs(x - 52) <= 4 and abs(y - 12) <= 4
    assert pixels.max() > 2 * np.median(pixels)
    flat = np.asarray(overlay_score_map(PHOTO, np.zeros((4, 4))))
    assert (flat == flat[0, 0]).all(), 'a map of zeros is drawn, without NaN'


def test_the_best_candidate_is_orange_only_when_wrong():
    right, wrong = [44, 4, 60, 20], [4, 40, 20, 60]

    def draw(gt_bbox, candidates):
        return draw_score_map(PHOTO, MAP, gt_bboxes=[gt_bbox], candidates=candidates, num_ranked=1)

    good, bad, none = draw(right, [wrong, right]), draw(wrong, [wrong, right]), draw(right, [])
    frame = np.asarray(bad)[-256:]  # below the line that says it in words
    assert count(good, ORANGE) == 0 and count(none, ORANGE) == 0
    assert count(frame, ORANGE) > 200
    # the frame of the wrong candidate stands in the right panel, around (44..60, 4..20) * 4
    ys, xs = np.nonzero((frame == ORANGE).all(-1))
    assert xs.min() == 256 + 4 + 176 and xs.max() == 256 + 4 + 239
    assert ys.min() == 16 and ys.max() == 79
    assert count(good, GREEN) == count(none, GREEN) > 1000, 'green in both panels'


def test_candidates_are_ranked_by_score():
    # the score is high in the upper right: the box there first, then its neighbour
    best, second, third = [44, 4, 60, 20], [34, 4, 50, 20], [4, 40, 20, 60]
    seen = []

    def tags(draw, boxes, colours):
        seen.append((np.asarray(boxes).tolist(), colours))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('eclip_mm.visualization.score_map.draw_tags', tags)
        kwargs = dict(gt_bboxes=[second], candidates=[third, second, best], target_size=64)
        draw_score_map(PHOTO, MAP, **kwargs)
        draw_score_map(PHOTO, MAP, num_ranked=2, **kwargs)
        draw_score_map(PHOTO, MAP, **{**kwargs, 'gt_bboxes': [best]})
        draw_score_map(PHOTO, MAP, **{**kwargs, 'gt_bboxes': []})
    inside = [39, 9, 45, 15]  # of the green frame
    assert seen[0] == ([best, inside, third], [ORANGE, GREY, GREY]), 'the choice is wrong'
    assert seen[1] == ([best, inside], [ORANGE, GREY])
    assert seen[2][1] == [WHITE, GREY, GREY], 'the choice is right'
    assert seen[3][1] == [GREY] * 3, 'nothing to judge by'


def test_words_judge_the_choice_alone(monkeypatch):
    words = []
    monkeypatch.setattr(
        'eclip_mm.visualization.score_map.text_block',
        lambda text, *args, **kwargs: words.append(text) or Image.new('RGB', (1, 1)),
    )
    best, second = [44, 4, 60, 20], [34, 4, 50, 20]
    for gt_bboxes in ([second], [best], []):
        draw_score_map(PHOTO, MAP, title='p', gt_bboxes=gt_bboxes, candidates=[second, best])
    assert words[::2] == ['p · wrong box', 'p · right box', 'p']
    assert all('right' not in line and 'wrong' not in line for line in words[1::2])


def test_boxes_and_map_fit_a_picture_of_another_size():
    # network input 64 x 64, stored picture 320 x 160: 5 times as wide, 2.5 times as high
    stored = np.full((160, 320, 3), 128, np.uint8)
    drawn = np.asarray(
        draw_score_map(
            stored,
            MAP,
            gt_bboxes=[[44, 4, 60, 20]],
            candidates=[[44, 4, 60, 20], [4, 40, 20, 60]],
            img_shape=(64, 64),
            target_size=320,
        )
    )[-160:]
    assert drawn.shape[1] == 2 * 320 + 4
    ys, xs = np.nonzero((drawn[:, :320] == GREEN).all(-1))
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (220, 299, 10, 49)
    ys, xs = np.nonzero((drawn[:, 324:] == GREEN).all(-1))
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (220, 299, 10, 49)
    heat = drawn[:, 324:].astype(int).sum(-1)
    assert heat[26:36, 250:270].mean() > 1.2 * heat[100:, :200].mean(), 'bright in the box'


def test_numbers_do_not_cover_each_other():
    image = Image.new('RGB', (100, 100))
    boxes = [[20, 20, 80, 80]] * 4 + [[90, 90, 140, 140]]
    colours = [(250, i, 0) for i in range(4)] + [(0, 0, 250)]
    draw_tags(ImageDraw.Draw(image), boxes, colours)
    sizes = [count(image, colour) for colour in colours]
    assert min(sizes) > 150, 'each ground is there, the last one inside the canvas'
    ys, xs = np.nonzero((np.asarray(image) == colours[0]).all(-1))
    assert xs.min() == 21 and ys.min() == 21, 'the first stands in its upper left corner'


def test_wrong_frames_differ_without_colour():
    def frame(dashed):
        image = Image.new('RGB', (40, 40), (255, 255, 255))
        draw_frame(ImageDraw.Draw(image), (4, 4, 36, 36), GREEN, width=2, dashed=dashed)
        return image

    solid, dashed = frame(False), frame(True)
    assert 0.4 < count(dashed, GREEN) / count(solid, GREEN) < 0.7
    top = (np.asarray(dashed)[4, 4:36] == GREEN).all(-1)
    assert np.abs(np.diff(top.astype(int))).sum() >= 4, 'several dashes on one side'


def test_small_photos_are_enlarged_by_whole_factors():
    assert [fit_scale((size, 50), 256) for size in (64, 96, 100, 200)] == [4, 3, 3, 1]
    assert fit_scale((640, 360), 256) == 0.4
    assert draw_score_map(PHOTO, MAP).size == (2 * 256 + 4, 256)
    assert draw_score_map(np.zeros((48, 64, 3), np.uint8), MAP).size == (516, 192)


def test_sheet_accepts_every_kind_of_picture(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / 'a.png')
    tensor = torch.from_numpy(PHOTO).permute(2, 0, 1)
    kinds = [PHOTO, tensor, tmp_path / 'a.png', Image.fromarray(PHOTO)]
    items = [
        dict(image=kind, score_map=torch.from_numpy(MAP), prompt='a prompt ' * 40)
        for kind in kinds
    ]
    sheet = score_map_sheet(items, columns=2, title='Title', target_size=64)
    cells = [draw_score_map(target_size=64, **item).tobytes() for item in items]
    assert len(set(cells)) == 1
    assert sheet.width == 2 * (64 * 2 + 4) + 3 * 16
    with pytest.raises(ValueError, match='at least one'):
        score_map_sheet([])
    with pytest.raises(ValueError, match='float'):
        to_pil(np.zeros((4, 4, 3)))


def test_text_is_wrapped_and_cut():
    font = load_font(14)
    lines = wrap_text('one two three ' * 30, font, 120, 3)
    assert len(lines) == 3 and lines[-1].endswith('…')
    assert all(font.getlength(line) <= 120 for line in lines)
    long_word = wrap_text('x' * 200, font, 120, 99)
    assert ''.join(long_word) == 'x' * 200
    assert all(font.getlength(line) <= 120 for line in long_word)
    assert wrap_text('', font, 120, 3) == ['']


def test_frame_covers_the_pixels_of_its_box():
    image = Image.new('RGB', (20, 20))
    draw_frame(ImageDraw.Draw(image), (4, 5, 14, 12), GREEN, width=1)
    ys, xs = np.nonzero((np.asarray(image) == GREEN).all(-1))
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (4, 13, 5, 11)


def test_grid_puts_pictures_in_reading_order():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sheet = np.asarray(grid([Image.new('RGB', (10, 6), c) for c in colours], columns=2, gap=2))
    assert sheet.shape == (2 * 8 + 2, 2 * 12 + 2, 3)
    assert [tuple(sheet[3, 3]), tuple(sheet[3, 15]), tuple(sheet[11, 3])] == colours


def test_retrieval_sheet_frames_the_right_ones():
    def found(*right):
        results = [dict(image=PHOTO, right=r, title=str(i)) for i, r in enumerate(right)]
        return retrieval_sheet([dict(image=PHOTO, title='q', results=results)], num_results=3)

    one, two = count(found(0, 1, 0), GREEN), count(found(1, 1, 0), GREEN)
    assert count(found(0, 0, 0), GREEN) == 0 and 0 < one and two == 2 * one
    assert count(found(0, 1, 0, 1), GREEN) == one, 'results beyond num_results are left out'
    plain = retrieval_sheet([dict(image=PHOTO, results=[])])
    prompted = retrieval_sheet([dict(image=PHOTO, prompt='red milk', results=[])])
    assert prompted.height > plain.height, 'the prompt has a line of its own'
    words = retrieval_sheet([dict(image=None, title='red milk', results=[])])
    assert np.asarray(words).min() < 100, 'a query by words is written'
    with pytest.raises(ValueError, match='at least one query'):
        retrieval_sheet([])
