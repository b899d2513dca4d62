"""Processes of a comparison: number at a time, order, failures, and that none is left behind."""

import os
import signal
import sys
import time

import pytest

from eclip_mm.comparison import scheduler as module
from eclip_mm.comparison.scheduler import Job, Scheduler, remaining_seconds, show_seconds
from eclip_mm.utils.cpus import num_cpus
from helpers.processes import Program, is_running, wait_until

# replaces the real job: runs the code in its folder
FAKE = (sys.executable, '-c', 'import sys; exec(open(sys.argv[1] + "/code.py").read())')


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setattr(module, 'COMMAND', FAKE)


@pytest.fixture
def make_job(tmp_path):
    def make(name, code, needs=None, kind='train'):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'code.py').write_text(code)
        return Job(name, kind, folder, needs=needs)

    return make


@pytest.mark.slow
def test_a_failure_is_reported_and_skips_only_the_jobs_that_need_it(make_job):
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


@pytest.mark.slow
@pytest.mark.parametrize('num_workers', [1, 2])
def test_workers_run_one_job_each_and_divide_the_cores(make_job, tmp_path, num_workers):
    Scheduler(num_workers, lambda line: None).run([make_job(str(i), NOTE) for i in range(4)])
    running, most = 0, 0
    for line in (tmp_path / 'events').read_text().splitlines():
        running += 1 if line.startswith('start') else -1
        most = max(most, running)
        assert line in ('end', f'start {max(1, num_cpus() // num_workers)}')
    assert most == num_workers


@pytest.mark.slow
def test_an_interrupt_ends_the_processes_and_what_they_started(make_job, tmp_path):
    pids = tmp_path / 'pids'
    code = f"""
import os, subprocess, time
child = subprocess.Popen(['sleep', '600'])
open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')
time.sleep(600)
"""
    wait = f"""
import os, time
while not os.path.exists({str(pids)!r}) or not os.path.getsize({str(pids)!r}):
    time.sleep(0.02)
"""

    def interrupt(job):
        raise KeyboardInterrupt

    jobs = [make_job('long', code), make_job('short', wait)]
    with pytest.raises(KeyboardInterrupt):
        Scheduler(2, lambda line: None).run(jobs, interrupt)
    ours, started = map(int, pids.read_text().split())
    wait_until(lambda: not is_running(ours) and not is_running(started))


PARENT = """
import os, sys, time

from eclip_mm.comparison.job import end_with_parent

parent = os.getpid()
if os.fork() == 0:
    os.setsid()
    if sys.argv[2:]:
        end_with_parent(parent)
    with open(sys.argv[1], 'w') as file:
        file.write(f'{os.getpid()}\\n')
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize('watches', [True, False])
def test_a_job_ends_with_a_killed_parent(tmp_path, watches):
    """Without --parent, as when started by hand under nohup, it outlives the shell."""
    script, pid = tmp_path / 'parent.py', tmp_path / 'pid'
    script.write_text(PARENT)
    command = [script, pid, *(['watch'] * watches)]
    parent = Program(command, tmp_path / 'log.txt', tmp_path, dict(os.environ))
    wait_until(lambda: pid.exists() and pid.read_text().endswith('\n'))
    child = int(pid.read_text())
    assert is_running(child)
    parent.kill()  # -9: it cannot end anything itself
    parent.wait()
    if watches:
        wait_until(lambda: not is_running(child))
    else:
        time.sleep(1.5)  # a watching job looks twice a second
        assert is_running(child)
        os.kill(child, signal.SIGKILL)


def test_the_remaining_time_by_hand():
    a, b = Job('a', 'train', None), Job('b', 'train', None)
    test = Job('t', 'test', None)
    assert remaining_seconds({}, [a], {}, 1) is None
    known = dict(train=[100.0, 140.0])  # a mean of 120
    assert remaining_seconds(known, [a, b], {test: 1.0}, 2) is None
    known['test'] = [10.0]
    assert remaining_seconds(known, [a, b], {test: 4.0}, 2) == pytest.approx((120 + 120 + 6) / 2)
    assert remaining_seconds(known, [a], {b: 500.0}, 2) == 120  # a job has one worker


@pytest.mark.parametrize(
    'seconds, text', [(42.4, '42 s'), (119, '119 s'), (700, '12 min'), (11100, '3 h 5 min')]
)
def test_seconds_for_people(seconds, text):
    assert show_seconds(seconds) == text
