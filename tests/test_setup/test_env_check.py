"""The start-up check: what it lets pass, what it names, and the command it gives."""

import configparser
import re
import sys
import types
from pathlib import Path

import pytest

from eclip_mm.utils import env_check
from eclip_mm.utils.env_check import (
    ANALYSIS,
    CORE,
    DETECTION,
    LANCEDB,
    LORA,
    ONNX,
    PGVECTOR,
    RAY,
    EnvironmentCheckError,
    check_analysis,
    check_detection,
    check_environment,
    check_lancedb,
    check_lora,
    check_onnx,
    check_onnx_export,
    check_pgvector,
    check_ray,
)

REPO = Path(__file__).parents[2]


@pytest.fixture
def installed(monkeypatch):
    """A made-up environment, {package: version}; a test changes it. Complete to begin with."""
    extras = ANALYSIS + LANCEDB + LORA + ONNX + PGVECTOR + RAY
    packages = {item.package: item.minimum for item in CORE + DETECTION + extras}

    def version(package):
        if package not in packages:
            raise env_check.metadata.PackageNotFoundError(package)
        return packages[package]

    monkeypatch.setattr(env_check.metadata, 'version', version)
    monkeypatch.setattr(env_check, 'find_spec', lambda module: None)
    return packages


def message_of(check) -> str:
    with pytest.raises(EnvironmentCheckError) as caught:
        check()
    return str(caught.value)


def test_least_versions_pass(installed):
    check_environment()


@pytest.mark.parametrize('item', CORE, ids=lambda item: item.package)
def test_missing_is_named_with_command(installed, item):
    del installed[item.package]
    message = message_of(check_environment)
    assert f'{item.package} is not installed' in message
    assert f"{sys.executable} -m pip install '{item.package}>={item.minimum}'" in message
    for other in CORE:
        assert other is item or f'{other.package}>=' not in message


@pytest.mark.parametrize(
    ('package', 'version'),
    [
        ('torch', '2.3.1+cu121'),
        ('torch', '1.13'),
        ('onedl-mmengine', '0.10.9'),
        ('transformers', '4.49.0'),
        ('pyarrow', '9.0.0'),
    ],
)
def test_too_old_is_named_with_command(installed, package, version):
    installed[package] = version
    message = message_of(check_environment)
    minimum = next(item.minimum for item in CORE if item.package == package)
    assert f'{package} {version} is installed, >= {minimum} is needed' in message
    assert f"pip install '{package}>={minimum}'" in message


@pytest.mark.parametrize(
    'version', ['2.4', '2.4.0', '2.10.1+cpu', '2.13.0+cu130', '2.4.0a0+f70bd71a48.nv24.6', '3']
)
def test_version_counts_as_number(installed, version):
    installed['torch'] = version
    check_environment()


def test_all_problems_in_one_command(installed):
    del installed['pyarrow']
    installed['torch'] = '2.0'
    assert "pip install 'torch>=2.4' 'pyarrow>=14'" in message_of(check_environment)


@pytest.mark.parametrize('ours_too', [True, False])
def test_stock_mmengine_is_refused(installed, ours_too):
    installed['mmengine'] = '0.10.7'
    if not ours_too:
        del installed['onedl-mmengine']
    message = message_of(check_environment)
    assert 'mmengine 0.10.7 is installed instead of onedl-mmengine' in message
    remove = message.index('uninstall -y mmengine onedl-mmengine\n')
    assert message.index("install 'onedl-mmengine>=0.10.12'") > remove
    assert 'onedl-mmengine is not installed' not in message


def test_another_opencv_serves(installed):
    del installed['opencv-python-headless']
    installed['opencv-contrib-python'] = '4.10.0.84'
    check_environment()
    installed['opencv-contrib-python'] = '3.4.18.65'
    assert 'opencv-contrib-python 3.4.18.65 is installed' in message_of(check_environment)


def test_source_tree_without_record_passes(installed, monkeypatch):
    del installed['torch']
    monkeypatch.setattr(
        env_check, 'find_spec', lambda module: object() if module == 'torch' else None
    )
    check_environment()
    del installed['pyarrow']
    assert 'torch' not in message_of(check_environment)


def test_old_python_is_named(installed, monkeypatch):
    monkeypatch.setattr(env_check.sys, 'version_info', (3, 9, 18))
    assert 'Python 3.9 is running, >= 3.10 is needed' in message_of(check_environment)


def test_detection_names_missing_package_and_setup(installed):
    del installed['onedl-mmdetection']
    message = message_of(check_detection)
    assert 'onedl-mmdetection is not installed' in message
    assert f'VENV={sys.prefix} bash tools/setup_env.sh --det' in message


def test_detection_refuses_stock_mmcv(installed):
    installed.update({'mmcv': '2.1.0', 'mmdet': '3.3.0'})
    message = message_of(check_detection)
    assert 'mmcv 2.1.0, mmdet 3.3.0 is installed instead of its onedl-* package' in message
    assert 'uninstall -y mmcv mmdet onedl-mmcv onedl-mmdetection' in message


def test_detection_sees_that_ops_are_missing(installed, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', types.ModuleType('mmcv'))
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)  # as Python marks "not to be found"
    message = message_of(check_detection)
    assert 'onedl-mmcv has no compiled ops for this torch' in message
    assert 'setup_env.sh --det' in message


def test_analysis_names_missing_package_and_command(installed):
    check_analysis()
    del installed['scikit-learn']
    message = message_of(check_analysis)
    assert 'scikit-learn is not installed' in message
    assert f"{sys.executable} -m pip install 'scikit-learn>=" in message


@pytest.mark.parametrize(
    ('check', 'package'),
    [
        (check_ray, 'ray'),
        (check_lora, 'peft'),
        (check_pgvector, 'psycopg'),
        (check_onnx, 'onnxruntime'),
        (check_onnx_export, 'onnxscript'),
        (check_lancedb, 'lancedb'),
    ],
)
def test_an_extra_names_its_missing_package_and_command(installed, check, package):
    check()
    del installed[package]
    message = message_of(check)
    assert f'{package} is not installed' in message
    assert f"{sys.executable} -m pip install '{package}>=" in message


def test_lists_are_those_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(REPO / 'setup.cfg')
    for text, items in (
        (config['options']['install_requires'], CORE),
        (config['options.extras_require']['analysis'], ANALYSIS),
        (config['options.extras_require']['lora'], LORA),
        (config['options.extras_require']['pgvector'], PGVECTOR),
        (config['options.extras_require']['onnx'], ONNX),
        (config['options.extras_require']['lancedb'], LANCEDB),
        (config['options.extras_require']['ray'], RAY),
    ):
        declared = re.findall(r'^([\w-]+)(?:\[\w+\])?>=([\d.]+)$', text, re.M)
        assert sorted(declared) == sorted((item.package, item.minimum) for item in items)
    assert config['options']['python_requires'] == '>=' + '.'.join(map(str, env_check.MIN_PYTHON))
