"""Only what setup.cfg cannot say: a wheel holds configs, tools and projects in `eclip_mm/.mim`.

OpenMMLab's programs look for them there, and `eclip_mm/utils/shipped.py` does.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ('configs', 'tools', 'projects')


class BuildWithMim(build_py):
    """Copies the folders beside the modules; an editable installation uses the checkout's."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'eclip_mm/.mim'
        for name in SHIPPED:
            shutil.rmtree(target / name, ignore_errors=True)  # of an earlier build
            shutil.copytree(name, target / name, ignore=shutil.ignore_patterns('__pycache__'))
        # without it mmengine does not look for `eclip_mm::...`; no weights are published
        (target / 'model-index.yml').write_text('Import: []\n', encoding='utf-8')


setup(cmdclass=dict(build_py=BuildWithMim))
