"""Values of ``--cfg-options``: what a config file can hold can be given on the command line."""

import argparse
import ast
import re

from eclip_mm.utils.config_text import ConfigTextError, parse_config_text

_NUMBER = re.compile(r'[+-]?(\d+|(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?|inf|nan)')
_CLOSES = {'(': ')', '[': ']', '{': '}'}


class OptionAction(argparse.Action):
    """Reads ``key=value`` words into a dict, for ``nargs='+'``.

    mmengine's ``DictAction`` recurses without end at a dict, and removes the spaces of a path.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values:
            key, equals, value = word.partition('=')
            if not key or not equals:
                parser.error(f'{option_string} {word!r}: write key=value')
            try:
                options[key] = parse_value(value)
            except ValueError as error:
                parser.error(f'{option_string} {key}: {error}')
        setattr(namespace, self.dest, options)


def parse_value(text: str):
    """The value that a word of the command line stands for.

    - a Python value: a number, ``None``, ``True``, a quoted string, a list, tuple or dict, also
      as ``dict(type='MomentumQueue', size=65536)``; names in it need no quotes, since the shell
      may have removed them;
    - several values with commas between them: a list, as in mmengine;
    - anything else: the text itself.

    Raises:
        ValueError: brackets are not closed, or the text begins like a dict and is none.
    """
    text = text.strip()
    try:
        tree = _QuoteNames().visit(ast.parse(text, mode='eval'))
        value = parse_config_text(f'value = {ast.unparse(tree)}')['value']
        return list(value) if isinstance(value, tuple) and text[0] != '(' else value
    except (ConfigTextError, SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    if text.startswith(('dict(', '{')):
        raise ValueError(
            f'{text!r} is no dict; write it as in a config file, in quotes for the shell: '
            '"key=dict(type=\'Name\', size=3)"'
        )
    bracket = text[:1] if text[:1] in ('(', '[') and text.endswith(_CLOSES[text[0]]) else ''
    if not bracket and ',' not in text:
        return _word(text)
    parts = split_at_commas(text[1:-1] if bracket else text)
    parts = [part for part in parts if part.strip()]
    if not bracket and parts == [text]:  # the comma is quoted
        return _word(text)
    parts = [parse_value(part) for part in parts]
    return tuple(parts) if bracket == '(' else parts


def split_at_commas(text: str) -> list[str]:
    """Split a text at the commas that stand outside of brackets and quotes.

    Raises:
        ValueError: brackets are not closed.
    """
    parts, open_brackets, quote = [''], [], ''
    for character in text:
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"':
            quote = character
        elif character in _CLOSES:
            open_brackets.append(_CLOSES[character])
        elif character in _CLOSES.values():
            if not open_brackets or open_brackets.pop() != character:
                raise ValueError(f'the brackets of {text!r} do not match')
        elif character == ',' and not open_brackets:
            parts.append('')
            continue
        parts[-1] += character
    if open_brackets:
        raise ValueError(f'the brackets of {text!r} do not match')
    return parts


def _word(text: str):
    if _NUMBER.fullmatch(text):
        return int(text) if text.lstrip('+-').isdigit() else float(text)
    return {'true': True, 'false': False}.get(text.lower(), text.strip('\'"'))


class _QuoteNames(ast.NodeTransformer):
    """Makes strings of names, except of the function ``dict``."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        function = node.func
        node = self.generic_visit(node)
        return ast.Call(function, node.args, node.keywords)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_word(node.id))
