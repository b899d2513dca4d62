"""An entry of the package imports only what stands above it (DESIGN, layout)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'eclip_mm'
#: from the ground up; each may import what stands before it
LAYOUT = (
    'registry',
    'structures',
    'utils',
    'checkpoint',
    'config',
    'datasets',
    'models',
    'evaluation',
    'visualization',
    'apis',
    'engine',
    'embedding',
    'index',
    'serving',
    'audit',
    'comparison',
    'testing',
    'page',
    'cli',
)


def entry(path: Path) -> str:
    """Name of the entry of the layout that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported_entries(source: str) -> list[tuple[int, str]]:
    """(line, entry) of all that a module imports from the package, inside functions as well."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'line {node.lineno}: imports are absolute'
            names = [node.module]
            if node.module == 'eclip_mm':
                names = [f'eclip_mm.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = [name.split('.') for name in names]
        found += [(node.lineno, p[1]) for p in parts if p[0] == 'eclip_mm' and len(p) > 1]
    return found


def imports_that_go_up(own: str, source: str) -> list[tuple[int, str]]:
    """Those of :func:`imported_entries` that stand below ``own`` in the layout."""
    return [
        (line, other)
        for line, other in imported_entries(source)
        if other in LAYOUT and LAYOUT.index(other) > LAYOUT.index(own)
    ]


def test_every_part_of_the_package_has_its_place():
    found = {path.name.removesuffix('.py') for path in PACKAGE.iterdir()}
    assert found - {'__init__', '__pycache__', 'py.typed'} == set(LAYOUT)


@pytest.mark.parametrize('own', LAYOUT)
def test_imports_go_one_way(own):
    files = PACKAGE.rglob('*.py')
    wrong = [
        f'{path.relative_to(PACKAGE)}:{line} imports eclip_mm.{other}'
        for path in files
        if path.parent != PACKAGE or path.name != '__init__.py'
        if entry(path) == own
        for line, other in imports_that_go_up(own, path.read_text(encoding='utf-8'))
    ]
    assert not wrong, f'{own} stands above what it imports: {wrong}'


def test_an_import_that_goes_up_is_found_wherever_it_stands():
    source = (
        'def f():\n    from eclip_mm.engine import hooks\n    import eclip_mm.apis.prediction\n'
    )
    assert imports_that_go_up('models', source) == [(2, 'engine'), (3, 'apis')]
    assert imports_that_go_up('comparison', source) == []
    assert imports_that_go_up('utils', 'from eclip_mm import testing') == [(1, 'testing')]
