"""Tables, letter by letter."""

import pytest

from eclip_mm.utils.text_table import format_table


def test_plain():
    assert format_table(['name', 'x'], [['a', 0.12345], ['long name', None], ['c', 7]]) == (
        'name           x\n----------------\na          0.123\nlong name      -\nc              7'
    )


def test_markdown():
    assert format_table(['name', 'x'], [['a|b', 0.5]], markdown=True, digits=1) == (
        '| name |   x |\n| ---- | --: |\n| a\\|b | 0.5 |'
    )


def test_rows_of_another_width_fail():
    with pytest.raises(ValueError, match='row 1 has 1 cells, the header 2'):
        format_table(['a', 'b'], [[1, 2], [1]])
