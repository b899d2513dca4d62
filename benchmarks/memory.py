"""Memory of a process, in bytes (Linux)."""

from pathlib import Path


def resident(pid: int | str = 'self') -> int:
    """Return the resident memory of a process, by default of this one."""
    status = Path(f'/proc/{pid}/status').read_text()
    return 1024 * int(status.split('VmRSS:')[1].split()[0])


def unshared(pid: int | str = 'self') -> int:
    """Return the memory that a process does not share with others."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith('Private_'))


def peak() -> int:
    """Return this process's peak of resident memory since its start or :func:`reset_peak`."""
    status = Path('/proc/self/status').read_text()
    return 1024 * int(status.split('VmHWM:')[1].split()[0])


def reset_peak() -> None:
    """Reset :func:`peak` to the current resident memory."""
    Path('/proc/self/clear_refs').write_text('5')
