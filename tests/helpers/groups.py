"""With pytest-xdist, tests that share what is made once go to one worker, as a plugin.

They are those of one ``xdist_group``, those that are marked ``alone``, and otherwise those of a
file. ``--dist loadgroup`` by itself would send the tests of a file one by one; and with pytest 9.2
and xdist 3.8 it forgets the groups, since it writes them into ids that pytest does not read any
more. Here each worker writes the groups into a file, which the scheduler reads.
"""

import json
import os
import tempfile
from pathlib import Path

import pytest

from helpers.rules import is_marked

_FILE = pytest.StashKey[Path]()


def group_of(item: pytest.Item) -> str:
    """Name of the group of a test."""
    if mark := item.get_closest_marker('xdist_group'):
        return mark.args[0]
    # one after the other, so that the rest of the suite waits once
    return 'alone' if is_marked(item, 'alone') else item.location[0]


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, 'workerinput'):
        config.stash[_FILE] = Path(config.workerinput['groups'])
    else:
        config.stash[_FILE] = Path(tempfile.gettempdir(), f'eclip_mm_groups_{os.getpid()}.json')


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput['groups'] = str(node.config.stash[_FILE])


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, 'workerinput'):
        config.stash[_FILE].unlink(missing_ok=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long comes first: at the end no worker waits for another one's long group."""
    if hasattr(config, 'workerinput'):
        slow = {group_of(item) for item in items if is_marked(item, 'slow')}
        items.sort(key=lambda item: group_of(item) not in slow)


@pytest.hookimpl(tryfirst=True)  # before xdist sends the ids to the scheduler
def pytest_collection_finish(session: pytest.Session) -> None:
    if hasattr(session.config, 'workerinput'):
        path = session.config.stash[_FILE]
        part = path.with_name(f'{path.name}.{os.getpid()}')
        part.write_text(json.dumps({item.nodeid: group_of(item) for item in session.items}))
        part.replace(path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    if config.getvalue('dist') != 'loadgroup':
        return None
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        groups: dict[str, str] = {}

        def _split_scope(self, nodeid: str) -> str:
            if not self.groups:
                self.groups = json.loads(config.stash[_FILE].read_text())
            return self.groups[nodeid]

    config.option.loadscopereorder = False  # the order of the tests is that of the groups
    return GroupScheduling(config, log)
