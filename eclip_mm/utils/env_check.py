"""Start-up checks of the dependencies, with the commands that fix what is wrong.

``import eclip_mm`` calls :func:`check_environment`, so this file has to be fast:
it reads the versions that pip recorded and imports none of the packages.
"""

import re
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import NamedTuple

MIN_PYTHON = (3, 10)


class Requirement(NamedTuple):
    """One dependency.

    Attributes:
        package: name of the distribution, as pip knows it.
        module: the module that it installs.
        minimum: lowest version that is accepted.
        others: distributions that install the same module and are accepted instead.
    """

    package: str
    module: str
    minimum: str
    others: tuple = ()


# The same list as install_requires in setup.cfg, which a test compares with it. It cannot be read
# from there, because a checkout on PYTHONPATH has no installed metadata.
CORE = (
    Requirement('torch', 'torch', '2.4'),
    Requirement('onedl-mmengine', 'mmengine', '0.10.12'),
    Requirement(
        'opencv-python-headless',
        'cv2',
        '4.5',
        ('opencv-python', 'opencv-contrib-python-headless', 'opencv-contrib-python'),
    ),
    Requirement('transformers', 'transformers', '4.50'),
    Requirement('tokenizers', 'tokenizers', '0.19'),
    Requirement('safetensors', 'safetensors', '0.4.1'),
    Requirement('huggingface_hub', 'huggingface_hub', '0.26'),
    Requirement('pyarrow', 'pyarrow', '14'),
    Requirement('fsspec', 'fsspec', '2023.5'),
    Requirement('pillow', 'PIL', '9.1'),
    Requirement('numpy', 'numpy', '1.24'),
    Requirement('matplotlib', 'matplotlib', '3.6'),
    Requirement('tqdm', 'tqdm', '4.60'),
    Requirement('pyyaml', 'yaml', '6'),
)
DETECTION = (
    Requirement('onedl-mmcv', 'mmcv', '2.3'),
    Requirement('onedl-mmdetection', 'mmdet', '3.4'),
    Requirement('pycocotools', 'pycocotools', '2.0.7'),
)
# The extra `analysis` of setup.cfg, compared by the same test.
ANALYSIS = (
    Requirement('scikit-learn', 'sklearn', '1.3'),
    Requirement('threadpoolctl', 'threadpoolctl', '3.1'),
)
# The extra `ray` of setup.cfg, compared by the same test.
RAY = (
    Requirement('ray', 'ray', '2.60'),
    Requirement('pandas', 'pandas', '2.2.3'),
)
# The extra `lora` of setup.cfg, compared by the same test.
LORA = (Requirement('peft', 'peft', '0.18'),)
# The extra `pgvector` of setup.cfg, compared by the same test.
PGVECTOR = (
    Requirement('pgvector', 'pgvector', '0.4'),
    Requirement('psycopg', 'psycopg', '3.2'),
)
# The extra `onnx` of setup.cfg, compared by the same test; using graphs needs the first alone.
ONNX = (
    Requirement('onnxruntime', 'onnxruntime', '1.20', ('onnxruntime-gpu',)),
    Requirement('onnx', 'onnx', '1.17'),
    Requirement('onnxscript', 'onnxscript', '0.5'),
)
# The extra `lancedb` of setup.cfg, compared by the same test.
LANCEDB = (Requirement('lancedb', 'lancedb', '0.25'),)
# Packages that install the same module as one of ours and overwrite its files.
STOCK_MMENGINE = ('mmengine', 'mmengine-lite')
STOCK_DETECTION = ('mmcv', 'mmcv-full', 'mmcv-lite', 'mmdet')


class EnvironmentCheckError(ImportError):
    """A dependency is missing or too old; the message has the command that fixes it."""


def check_environment() -> None:
    """Check what pretraining needs; ``import eclip_mm`` calls this.

    Raises:
        EnvironmentCheckError: dependencies are missing or too old. It names all
            of them and the command that fixes it.
    """
    problems, commands = [], []
    if sys.version_info[:2] < MIN_PYTHON:
        problems.append(
            f'Python {sys.version_info[0]}.{sys.version_info[1]} is running, '
            f'>= {_dotted(MIN_PYTHON)} is needed'
        )
        commands.append(
            'bash tools/setup_env.sh  # makes .venv with a newer Python, if it finds one'
        )
    stock = _installed(STOCK_MMENGINE)
    if stock:
        problems.append(
            f'{_listed(stock)} is installed instead of onedl-mmengine, and cannot load its own '
            'checkpoints with torch >= 2.6'
        )
        minimum = next(item.minimum for item in CORE if item.package == 'onedl-mmengine')
        # Both packages own the same files, so removing one breaks the other.
        commands.append(f'{_pip()} uninstall -y {" ".join(stock)} onedl-mmengine')
        commands.append(f"{_pip()} install 'onedl-mmengine>={minimum}'")
    _check_installed(
        [item for item in CORE if not (stock and item.module == 'mmengine')], problems, commands
    )
    _raise_if(problems, commands, 'eclip_mm cannot start')


def check_analysis() -> None:
    """Check what t-SNE needs beyond pretraining.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    _check_extra(ANALYSIS, 't-SNE cannot start')


def check_ray() -> None:
    """Check what embedding on a Ray cluster needs beyond pretraining.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    _check_extra(RAY, 'Ray Data cannot start')


def check_lora() -> None:
    """Check what adapters (LoRA) need beyond pretraining.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    _check_extra(LORA, 'LoRA cannot start')


def check_pgvector() -> None:
    """Check what an index in PostgreSQL needs beyond pretraining.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    _check_extra(PGVECTOR, 'PostgreSQL cannot be used')


def check_onnx() -> None:
    """Check what running ONNX graphs needs beyond pretraining.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    _check_extra(ONNX[:1], 'ONNX graphs cannot be used')


def check_onnx_export() -> None:
    """Check what writing ONNX graphs needs beyond pretraining.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    _check_extra(ONNX, 'ONNX graphs cannot be written')


def check_lancedb() -> None:
    """Check what an index in LanceDB needs beyond pretraining.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    _check_extra(LANCEDB, 'LanceDB cannot be used')


def check_detection() -> None:
    """Check what detection needs beyond pretraining: mmdet, and mmcv with compiled ops.

    This imports torch and mmcv's compiled module, because pip's records do not say
    whether an mmcv was built with ops.

    Raises:
        EnvironmentCheckError: as :func:`check_environment`.
    """
    problems, commands = [], []
    stock = _installed(STOCK_DETECTION)
    if stock:
        problems.append(f'{_listed(stock)} is installed instead of its onedl-* package')
        commands.append(f'{_pip()} uninstall -y {" ".join(stock)} onedl-mmcv onedl-mmdetection')
    problems.extend(filter(None, map(_problem, DETECTION)))
    if not problems:
        try:
            import_module('torch')  # the ops need its libraries to be loaded
            import_module('mmcv._ext')
        except ImportError as error:
            problems.append(f'onedl-mmcv has no compiled ops for this torch ({error})')
    if problems:
        commands.append(
            f'VENV={sys.prefix} bash tools/setup_env.sh --det  '
            '# in the eclip_mm checkout; docs/install.md has the single steps'
        )
    _raise_if(problems, commands, 'detection cannot start')


def _check_extra(items, outcome: str) -> None:
    """Check the dependencies of an extra; ``outcome`` says what is impossible without them."""
    problems, commands = [], []
    _check_installed(items, problems, commands)
    _raise_if(problems, commands, outcome)


def _check_installed(items, problems: list, commands: list) -> None:
    """Append what is wrong with dependencies, and the command that fixes it, to the two lists."""
    unmet = [item for item in items if _problem(item)]
    if unmet:
        problems.extend(map(_problem, unmet))
        wanted = ' '.join(f"'{item.package}>={item.minimum}'" for item in unmet)
        commands.append(f'{_pip()} install {wanted}')


def _problem(item: Requirement) -> str:
    """What is wrong with one dependency; empty if nothing is."""
    found = _installed((item.package, *item.others))
    if not found:
        # A module without a record is a source tree on PYTHONPATH, whose version is unknown.
        return '' if _importable(item.module) else f'{item.package} is not installed'
    if max(map(_release, found.values())) < _release(item.minimum):
        return f'{_listed(found)} is installed, >= {item.minimum} is needed'
    return ''


def _installed(packages: tuple) -> dict:
    """Name -> version of those packages that pip has a record of."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _listed(found: dict) -> str:
    return ', '.join(f'{package} {version}' for package, version in found.items())


def _importable(module: str) -> bool:
    return find_spec(module) is not None


def _release(version: str) -> tuple:
    """(2, 13) of '2.13.0+cpu': without trailing zeros, pre-release and local parts.

    NVIDIA's containers name a build of torch 2.6 '2.6.0a0+ecf3bae40a'; it counts as 2.6.
    """
    numbers = [
        int(number) for number in re.match(r'\d*(?:\.\d+)*', version)[0].split('.') if number
    ]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _dotted(numbers: tuple) -> str:
    return '.'.join(map(str, numbers))


def _pip() -> str:
    return f'{sys.executable} -m pip'


def _raise_if(problems: list, commands: list, what: str) -> None:
    if problems:
        lines = [f'{what}:', *(f'  - {problem}' for problem in problems), 'To fix it, run:']
        raise EnvironmentCheckError('\n'.join(lines + [f'  {command}' for command in commands]))
