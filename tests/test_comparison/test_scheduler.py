"""Processes: how many at a time, what waits, what fails, and that none is left behind."""

import os
import subprocess
import sys
import time

import pytest

from eclip_mm.comparison import scheduler as module
from eclip_mm.comparison.scheduler import Durations, Job, Scheduler, num_cores, show_seconds

# stands for the real job: does what the code in its folder says
FAKE = (sys.executable, '-c', 'import sys; exec(open(sys.argv[1] + "/code.py").read())')


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setattr(module, 'COMMAND', FAKE)


@pytest.fixture
def make_job(tmp_path):
    def make(name, code, needs=None, kind=('train', 'x')):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'code.py').write_text(code)
        return Job(name, kind, folder, needs=needs)

    return make


def test_a_failure_is_told_and_only_what_needs_it_is_left_out(make_job):
    lines, done = [], []
    bad = make_job('bad', 'print("reading"); raise SystemExit("no such file: x")')
    hopeless = make_job('hopeless', '', needs=bad.folder)
    good = make_job('good', '')
    after = make_job('after', '', needs=good.folder)
    failed = Scheduler(2, lines.append).run([bad, hopeless, good, after], done.append)
    assert set(failed) == {bad, hopeless} and done == [good, after]
    assert 'exit code 1' in failed[bad] and 'reading\n    no such file: x' in failed[bad]
    text = '\n'.join(lines)
    assert 'no such file: x' in text and 'hopeless: FAILED, it needs' in text


NOTE = """
import os, sys, time
log = open(sys.argv[1] + '/../events', 'a')
log.write(f'start {os.environ["OMP_NUM_THREADS"]}\\n'); log.flush()
time.sleep(0.3)
log.write('end\\n')
"""


@pytest.mark.parametrize('slots', [1, 2])
def test_never_more_than_the_slots_and_each_its_share_of_cores(make_job, tmp_path, slots):
    Scheduler(slots, lambda line: None).run([make_job(str(i), NOTE) for i in range(4)])
    at_work, most = 0, 0
    for line in (tmp_path / 'events').read_text().splitlines():
        at_work += 1 if line.startswith('start') else -1
        most = max(most, at_work)
        assert line in ('end', f'start {max(1, num_cores() // slots)}')
    assert most == slots


def is_running(pid: int) -> bool:
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().split()[2] != 'Z'
    except FileNotFoundError:
        return False


def test_an_interrupt_ends_the_processes_and_what_they_started(make_job, tmp_path):
    code = f"""
import os, subprocess, time
child = subprocess.Popen(['sleep', '60'])
open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')
print('ready', flush=True)
time.sleep(60)
"""
    long, short = make_job('long', code), make_job('short', 'import time; time.sleep(2)')

    def interrupt(job):
        raise KeyboardInterrupt

    start = time.time()
    with pytest.raises(KeyboardInterrupt):
        Scheduler(2, lambda line: None).run([long, short], interrupt)
    assert time.time() - start < 20
    pids = (tmp_path / 'pids').read_text().split()
    deadline = time.time() + 5
    while any(map(is_running, map(int, pids))) and time.time() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, map(int, pids)))


def test_a_job_ends_with_a_killed_parent():
    code = 'import time; from eclip_mm.comparison.job import _end_with_parent as end; end()'
    process = subprocess.Popen(
        [sys.executable, '-c', f'{code}; print("ready", flush=True); time.sleep(60)'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )
    assert process.stdout.readline() == b'ready\n'
    process.stdin.close()  # what the kernel does when we are killed
    assert process.wait(timeout=20) == -9
    process.stdout.close()


def job(kind, name):
    return Job(name, (kind, name), None)


def test_the_remaining_time_by_hand():
    durations = Durations()
    a, b, test = job('train', 'a'), job('train', 'b'), job('test', 'a')
    assert durations.remaining([a], {}, 1) is None
    durations.add(a, 100)
    durations.add(a, 140)
    # a takes 120; b is unknown and taken for the mean of all trainings
    assert durations.remaining([a, b], {a: 50.0}, 2) == pytest.approx((120 + 120 + 70) / 2)
    durations.add(b, 30)
    assert durations.guess(b) == 30
    assert durations.remaining([a], {b: 500.0}, 2) == 120  # one job does not get faster by two
    assert durations.remaining([test], {}, 1) is None


@pytest.mark.parametrize(
    'seconds, text', [(42.4, '42 s'), (119, '119 s'), (700, '12 min'), (11100, '3 h 5 min')]
)
def test_seconds_for_people(seconds, text):
    assert show_seconds(seconds) == text
