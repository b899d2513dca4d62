"""The file of judged searches: what is written is read, and what is wrong is named."""

import json
import threading

import pytest

from eclip_mm.index import JudgedSearch, Query, append_judged, read_judged

LINE = dict(query=dict(words='mug'), found=[dict(product_id='p1', score=0.5)])
SEARCHES = [
    JudgedSearch(Query('red shoes'), (('p1', 0.5), ('p2', 0.25)), ('p1',), ('p7',), 'a' * 64),
    JudgedSearch(Query(photo=b'bytes', box=(1.0, 2.0, 30.0, 40.0)), (('p1', 0.5),), ('p1',)),
    JudgedSearch(Query('mug', b'bytes', where=(('category', 'in', ['a', 'b']), 'price<3')), ()),
]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / 'new/judged.jsonl'
    for search in SEARCHES:
        append_judged(path, search)
    assert list(read_judged(path)) == SEARCHES
    assert len(list((tmp_path / 'new/photos').iterdir())) == 1  # the same photo is stored once
    path.rename(tmp_path / 'moved.jsonl')
    (tmp_path / 'new/photos').rename(tmp_path / 'photos')
    assert list(read_judged(tmp_path / 'moved.jsonl')) == SEARCHES


def test_the_half_line_of_a_killed_process_spoils_no_other(tmp_path):
    path = tmp_path / 'judged.jsonl'
    path.write_text('{"query"')
    append_judged(path, SEARCHES[0])
    assert json.loads(path.read_text().splitlines()[1])['right'] == ['p7']
    with pytest.raises(ValueError, match=r'judged.jsonl, line 1 is no JSON'):
        list(read_judged(path))


def test_many_can_write_at_once(tmp_path):
    writers = [
        threading.Thread(target=append_judged, args=(tmp_path / 'j.jsonl', SEARCHES[k % 3]))
        for k in range(12)
    ]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert len(list(read_judged(tmp_path / 'j.jsonl'))) == 12


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(wrongs=[]), "unknown field 'wrongs'"),
        (dict(query=None), "'query': an object is expected"),
        (dict(query=dict(text='mug')), "'query': unknown field 'text'"),
        (dict(query={}), 'neither words nor a photo'),
        (dict(query=dict(photo='photos/x')), r'the photo .*photos/x cannot be read'),
        (dict(right='p7'), "'right' is a list of product_ids, got 'p7'"),
        (dict(wrong=[7]), "'wrong' is a list of product_ids"),
        (dict(found=[dict(score=1)]), "the field 'product_id' is missing"),
        (dict(found=7), 'a field is of the wrong type'),
        (dict(query=dict(words='mug', box=3)), 'a field is of the wrong type'),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, words):
    path = tmp_path / 'j.jsonl'
    path.write_text(json.dumps(LINE) + '\n\n' + json.dumps(LINE | change) + '\n')
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        list(read_judged(path))
    assert 'j.jsonl, line 3' in str(error.value)


def test_a_missing_field_is_named(tmp_path):
    (tmp_path / 'j.jsonl').write_text(json.dumps(dict(query=dict(words='mug'))))
    with pytest.raises(ValueError, match="line 1: the field 'found' is missing"):
        list(read_judged(tmp_path / 'j.jsonl'))
