"""Sockets that end at a deadline, however little a server sends at a time."""

import queue
import socket
import ssl
import threading
import time


class Deadline:
    """The time that a try may take, from the name of the host to the last byte.

    Args:
        timeout: longest single wait, in seconds.
        max_seconds: all of them together.
    """

    def __init__(self, timeout: float, max_seconds: float) -> None:
        self.timeout, self.max_seconds = timeout, max_seconds
        self._end = time.monotonic() + max_seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def wait(self) -> float:
        """Seconds that the next step may take.

        Raises:
            TimeoutError: the deadline is over.
        """
        if self.is_over:
            raise TimeoutError(f'it takes longer than {self.max_seconds:g} s')
        return min(self.timeout, self._end - time.monotonic())


class _UntilDeadline:
    """Each read of a socket waits until its deadline at most."""

    deadline: Deadline

    def recv_into(self, *args, **kwargs) -> int:
        self.settimeout(self.deadline.wait())
        return super().recv_into(*args, **kwargs)


class LimitedSocket(_UntilDeadline, socket.socket):
    """A socket with the attribute ``deadline``."""


class LimitedSSLSocket(_UntilDeadline, ssl.SSLSocket):
    """An encrypted socket with the attribute ``deadline``; see ``SSLContext.sslsocket_class``."""


def resolve(host: str, port: int, deadline: Deadline) -> list[tuple]:
    """``socket.getaddrinfo``, which cannot be interrupted and therefore runs in a thread.

    Raises:
        OSError: the host is unknown, or the name server does not answer in time.
    """
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=deadline.wait())
    except queue.Empty:
        raise TimeoutError(f'the name server does not answer for {host}') from None
    if isinstance(found, Exception):
        raise found
    return found
