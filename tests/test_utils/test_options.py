"""--cfg-options: what a config file can hold can be given on the command line."""

import argparse

import pytest

from eclip_mm.utils.options import OptionAction, parse_value

QUEUE = dict(type='MomentumQueue', size=65536)


@pytest.mark.parametrize(
    'text, value',
    [
        ("dict(type='MomentumQueue', size=65536)", QUEUE),  # README's; a RecursionError before
        ('dict(type=MomentumQueue,size=65536)', QUEUE),  # the shell has removed the quotes
        ("{'type': 'MomentumQueue', 'size': 65536}", QUEUE),
        ('{"a": true, "b": [1, null2]}', dict(a=True, b=[1, 'null2'])),
        ("[dict(type='A', x=(1, 2)), dict()]", [dict(type='A', x=(1, 2)), {}]),
        ('1,2,3', [1, 2, 3]),
        ('(1,2)', (1, 2)),
        ('[(1, 2), [a, b], c]', [(1, 2), ['a', 'b'], 'c']),
        ("['comment','video']", ['comment', 'video']),
        ('[data/a.parquet,data/b c.parquet]', ['data/a.parquet', 'data/b c.parquet']),
        ('data/a.parquet,3', ['data/a.parquet', 3]),
        ('1e-4', 1e-4),
        ('-3', -3),
        ('.5', 0.5),
        ('inf', float('inf')),
        ('true', True),
        ('None', None),
        ("'None'", 'None'),
        ('"007"', '007'),
        ('val/fine_R@1', 'val/fine_R@1'),
        ('s3://bucket/a=b', 's3://bucket/a=b'),
        ('my shop (1).parquet', 'my shop (1).parquet'),  # the spaces were removed before
        ("men's shoes", "men's shoes"),
        ("'a,b'", 'a,b'),
        ('[]', []),
        ('', ''),
        ('x[1', 'x[1'),
    ],
)
def test_values(text, value):
    found = parse_value(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    'text, message',
    [('dict(type=A', 'is no dict'), ('{a, b: 3}', 'is no dict'), ('[1,(2]', 'match')],
)
def test_what_is_no_value_says_so(text, message):
    with pytest.raises(ValueError, match=message):
        parse_value(text)


def test_the_parser_names_the_key(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    words = ['--cfg-options', 'a.b=1', "queue=dict(type='MomentumQueue', size=65536)"]
    assert parser.parse_args(words).cfg_options == {'a.b': 1, 'queue': QUEUE}
    for word, message in (('a.b', "'a.b': write key=value"), ('a=dict(', "a: 'dict(' is no dict")):
        with pytest.raises(SystemExit):
            parser.parse_args(['--cfg-options', word])
        assert message in capsys.readouterr().err
