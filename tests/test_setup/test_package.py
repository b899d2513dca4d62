"""The package as pip sees it: everything is in it, and what it imports is declared."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

import eclip_mm

REPO = Path(__file__).parents[2]
#: extra -> where its packages may be imported; all but those of det and serve inside a function
EXTRA_PARTS = {
    # not from `import eclip_mm`, not for pretraining
    'det': (
        'eclip_mm/models/detection',
        'eclip_mm/datasets/detection.py',
        'eclip_mm/evaluation/metrics/detection_map.py',
        'eclip_mm/evaluation/metrics/detection_recall.py',
        'eclip_mm/evaluation/proposals',
    ),
    'analysis': ('eclip_mm/visualization/tsne.py',),
    'lora': ('eclip_mm/models/encoders/lora.py', 'eclip_mm/checkpoint/export.py'),
    'ray': ('eclip_mm/embedding/cluster.py', 'eclip_mm/serving/ray_service.py'),
    'feeds': ('eclip_mm/datasets/converters/feed/excel.py',),
    'pgvector': tuple(
        f'eclip_mm/index/{n}.py' for n in ('database', 'postgres', 'postgres_rows', 'sql_columns')
    ),
    'app': ('eclip_mm/page/',),
    'onnx': ('eclip_mm/apis/onnx_model.py', 'eclip_mm/apis/onnx_export.py'),
    'lancedb': ('eclip_mm/index/lance.py',),
    'serve': ('eclip_mm/serving', 'eclip_mm/cli/serve.py'),
}
#: extra -> modules that its packages, or tools/setup_env.sh, bring as well
BROUGHT = {'det': {'mmcv', 'mmdet'}, 'serve': {'pydantic_core'}}
MODULES = {
    'onedl-mmengine': 'mmengine',
    'opencv-python-headless': 'cv2',
    'pillow': 'PIL',
    'scikit-learn': 'sklearn',
    'scikit-image': 'skimage',
    'pyyaml': 'yaml',
}


def settings():
    config = configparser.ConfigParser()
    config.read(REPO / 'setup.cfg')
    return config


def modules_of(requirements: str) -> set:
    packages = re.findall(r'^([\w-]+)', requirements, re.M)
    return {MODULES.get(package, package.replace('-', '_')) for package in packages}


def imported_modules(path: Path) -> set:
    """Top-level names of all absolute imports in a file, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return {name.partition('.')[0] for name in names}


def test_every_folder_with_code_is_packaged():
    found = find_packages(
        str(REPO), include=settings()['options.packages.find']['include'].split()
    )
    folders = {path.parent for path in (REPO / 'eclip_mm').rglob('*.py')}
    expected = {'.'.join(folder.relative_to(REPO).parts) for folder in folders}
    assert set(found) == expected


def test_version_is_readable_without_importing():
    assert settings()['metadata']['version'] == 'attr: eclip_mm.__version__'
    # setuptools reads the attribute from the source; a computed one would import torch's users.
    assigned = re.search(
        r"^__version__ = '(.+)'$", (REPO / 'eclip_mm/__init__.py').read_text(), re.M
    )
    assert assigned[1] == eclip_mm.__version__


def test_imports_are_declared():
    config = settings()
    core = modules_of(config['options']['install_requires'])
    extras = config['options.extras_require']
    modules = {name: modules_of(extras[name]) | BROUGHT.get(name, set()) for name in EXTRA_PARTS}
    undeclared = []
    for folder in ('eclip_mm', 'tools'):
        for path in (REPO / folder).rglob('*.py'):
            name = path.relative_to(REPO).as_posix()
            allowed = core | set(sys.stdlib_module_names) | {'eclip_mm'}
            if folder == 'tools':  # a program finds the modules that lie beside it
                allowed |= {beside.stem for beside in path.parent.glob('*.py')}
            for extra, parts in EXTRA_PARTS.items():
                if name.startswith(parts):
                    allowed |= modules[extra]
            undeclared += [f'{name}: {module}' for module in imported_modules(path) - allowed]
    assert not undeclared, 'imported, but not in install_requires of setup.cfg'


def test_torch_is_bounded_from_below_only():
    torch = re.search(r'^torch(.*)$', settings()['options']['install_requires'], re.M)[1]
    assert re.fullmatch(r'>=[\d.]+', torch)


IMPORT_ALL_WITHOUT = """
import sys
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec
# As if these were not installed: not found, rather than an error on looking.
PathFinder.find_spec = lambda name, *args: (
    None if name.partition('.')[0] in {blocked!r} else find_spec(name, *args)
)
import eclip_mm
assert 'torch' not in sys.modules and 'mmengine' not in sys.modules, 'import eclip_mm is heavy'
from eclip_mm import registry
from mmengine.registry import Registry
count = 0
for member in list(vars(registry).values()):
    if isinstance(member, Registry) and member.scope == 'eclip_mm':
        member.import_from_location()
        count += 1
print(count)
"""


@pytest.mark.slow
def test_works_without_mmcv_and_mmdet():
    blocked = {'mmcv', 'mmdet', 'torchvision', 'pycocotools', 'tensorboard', 'scipy'}
    blocked |= {'sklearn', 'threadpoolctl', 'ray', 'pandas', 'pillow_heif', 'pillow_jxl'}
    blocked |= {'psycopg', 'pgvector', 'gradio', 'lancedb', 'onnx', 'onnxruntime', 'onnxscript'}
    blocked |= {'fastapi', 'uvicorn', 'prometheus_client'}
    done = subprocess.run(
        [sys.executable, '-c', IMPORT_ALL_WITHOUT.format(blocked=blocked)],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(
        re.findall('= Registry', (REPO / 'eclip_mm/registry.py').read_text())
    )


@pytest.mark.parametrize(
    'extra',
    [
        'det',
        'analysis',
        'lora',
        'ray',
        'heif',
        'pgvector',
        'app',
        'onnx',
        'lancedb',
        'serve',
        'tests',
        'dev',
    ],
)
def test_extras_do_not_pull_torch_or_mmcv(extra):
    # pip would build mmcv without its ops, and fetch another torch beside a user's own.
    packages = re.findall(r'^([\w-]+)', settings()['options.extras_require'][extra], re.M)
    assert packages
    assert not {'torch', 'torchvision', 'onedl-mmcv', 'onedl-mmdetection', 'mmcv'} & set(packages)


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The package as a user installs it: a wheel of what git tracks, unpacked."""
    source, out = (tmp_path_factory.mktemp(name) for name in ('source', 'site'))
    tracked = subprocess.run(['git', 'ls-files'], cwd=REPO, capture_output=True, text=True)
    for name in tracked.stdout.splitlines():
        if name.startswith(('eclip_mm/', 'configs/', 'tools/', 'projects/')) or '/' not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, source / name)
    build = 'import sys, setuptools.build_meta as m; print(m.build_wheel(sys.argv[1]))'
    command = [sys.executable, '-c', build, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out / done.stdout.splitlines()[-1]) as file:
        file.extractall(out)
    return out


@pytest.mark.slow
def test_a_wheel_has_configs_and_tools_and_works_from_any_folder(wheel, tmp_path):
    mim = wheel / 'eclip_mm/.mim'
    for name in ('configs', 'tools', 'projects'):
        wanted = {p.relative_to(REPO) for p in (REPO / name).rglob('*.*') if p.is_file()}
        wanted = {p for p in wanted if '__pycache__' not in p.parts}
        assert {p.relative_to(mim) for p in (mim / name).rglob('*.*') if p.is_file()} == wanted
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'eclip_mm::demo/eclip_tiny_synthetic.py'\nwork_dir = 'here'\n"
    )
    # the installation of the tests, which is a checkout, is not to be seen
    code = f"""
import sys
sys.path[:] = [{str(wheel)!r}, *(p for p in sys.path if p != {str(REPO)!r})]
sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in repr(f)]
from eclip_mm.cli import main
from eclip_mm.config import load_config
assert load_config('mine.py').model.type == 'ECLIP'
sys.exit(main(['test', 'demo/eclip_tiny_synthetic.py', 'gone.pth']))
"""
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, env=_without()
    )
    assert done.returncode == 1, done.stderr
    assert 'gone.pth' in done.stderr.splitlines()[0], done.stderr


def _without() -> dict:
    """The environment without a path to the checkout."""
    return {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
