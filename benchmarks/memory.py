"""Memory of a process, in bytes (Linux)."""

from pathlib import Path


def resident(pid: int | str = 'self') -> int:
    """What a process holds now; this one without an argument."""
    status = Path(f'/proc/{pid}/status').read_text()
    return 1024 * int(status.split('VmRSS:')[1].split()[0])


def unshared(pid: int | str = 'self') -> int:
    """What of it no other process holds as well."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith('Private_'))


def peak() -> int:
    """The most that this process has held since it began, or since :func:`reset_peak`."""
    status = Path('/proc/self/status').read_text()
    return 1024 * int(status.split('VmHWM:')[1].split()[0])


def reset_peak() -> None:
    """Let :func:`peak` begin at what is held now."""
    Path('/proc/self/clear_refs').write_text('5')
