"""Reading the config text of a checkpoint without running it.

mmengine stores the config of a training in its checkpoints as Python text.
Executing that text would run the code of the file's author. Here it is only
parsed, and anything but assignments of plain values is refused.
"""

import ast

MAX_CHARACTERS = 1_000_000


class ConfigTextError(ValueError):
    """A config text contains more than plain values; the message names the line."""


def parse_config_text(text: str, name: str = 'config text') -> dict:
    """Parse the top-level names of a config text and their values.

    Only what ``Config.pretty_text`` writes is allowed: assignments of literals
    (strings, numbers, bools, None), of lists, tuples, sets and dicts of them, and
    of ``dict(key=value, ...)`` and ``dict({...})``.

    Args:
        text: what mmengine stored.
        name: name of the text in errors, such as the checkpoint's path.

    Returns:
        Name -> plain value. No part of the text has been executed.

    Raises:
        ConfigTextError: the text is not of this form.
    """
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise ConfigTextError(f'{name}: is not text of at most {MAX_CHARACTERS} characters')
    try:
        tree = ast.parse(text)
        return dict(_assignment(node, name) for node in tree.body)
    except SyntaxError as error:
        raise ConfigTextError(
            f'{name}, line {error.lineno}: is not Python ({error.msg})'
        ) from error
    except (MemoryError, RecursionError) as error:
        raise ConfigTextError(f'{name}: is nested too deeply to be a config') from error
    except ValueError as error:
        if isinstance(error, ConfigTextError):
            raise
        raise ConfigTextError(f'{name}: is not Python ({error})') from error  # null bytes


def refuse_import_paths(node, name: str) -> None:
    """Refuse a stored config that names components by import paths.

    Parsing a config without running it is not enough if components are built
    from it: for ``dict(type='os.system', ...)`` mmengine imports the Python object
    of that path and calls it. Only names in the registries are safe.

    Args:
        node: values of a stored config.
        name: name of the config in errors.

    Raises:
        ConfigTextError: a ``type`` has a dot, or there is a ``_scope_``, which
            is the name of a package to import.
    """
    if isinstance(node, dict):
        kind = node.get('type')
        if '_scope_' in node or isinstance(kind, str) and '.' in kind:
            raise ConfigTextError(
                f'{name}: type {kind!r} of a stored config would import and call what the file '
                'names. If you trust its author, evaluate with a config file that has its own '
                '`model`.'
            )
        node = node.values()
    elif not isinstance(node, list | tuple | set):
        return
    for part in node:
        refuse_import_paths(part, name)


def _assignment(node: ast.stmt, name: str) -> tuple[str, object]:
    if (
        not isinstance(node, ast.Assign)
        or len(node.targets) != 1
        or not isinstance(node.targets[0], ast.Name)
    ):
        raise _refusal(node, name)
    return node.targets[0].id, _value(node.value, name)


def _value(node: ast.expr, name: str):
    if isinstance(node, ast.Constant) and not isinstance(node.value, (bytes, type(...))):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        values = [_value(item, name) for item in node.elts]
        return _hashed(kind, values, node, name)
    if isinstance(node, ast.Dict) and None not in node.keys:  # None: `**other`
        pairs = [
            (_value(key, name), _value(value, name))
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        return _hashed(dict, pairs, node, name)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == 'dict'
        and all(keyword.arg for keyword in node.keywords)
        and (not node.args or len(node.args) == 1 and isinstance(node.args[0], ast.Dict))
    ):
        values = _value(node.args[0], name) if node.args else {}
        return values | {word.arg: _value(word.value, name) for word in node.keywords}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _value(node.operand, name)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            return -number
    raise _refusal(node, name)


def _hashed(kind: type, values: list, node: ast.expr, name: str):
    try:
        return kind(values)
    except TypeError as error:  # a list as key or in a set
        raise _refusal(node, name) from error


def _refusal(node: ast.AST, name: str) -> ConfigTextError:
    shown = ast.unparse(node)
    shown = shown if len(shown) <= 60 else shown[:57] + '...'
    return ConfigTextError(
        f'{name}, line {node.lineno}: {shown!r} is not a plain value. A stored config is never '
        'executed; evaluate with a config file that has its own `model`.'
    )
