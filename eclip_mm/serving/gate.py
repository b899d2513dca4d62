"""What happens to a request before it is read: key, queue, size, time, clients that go away."""

import asyncio
import hmac
import time
from collections.abc import Callable, Collection

from fastapi.responses import JSONResponse

from eclip_mm.serving.limits import Limits, Refused
from eclip_mm.serving.metrics import Metrics

#: answered without a key and whatever waits
_OPEN = '/healthz'


class Gate:
    """ASGI middleware around the application.

    Args:
        app: the application.
        limits: of bodies, of time, and of requests at the same time.
        metrics: counts answers.
        watch: called with the number of requests whenever it changes.
        key: what requests must have as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; None
            for no key.
        paths: paths that do the work; they take JSON.
    """

    def __init__(
        self,
        app,
        limits: Limits,
        metrics: Metrics,
        watch: Callable[[int], None],
        key: str | None,
        paths: Collection[str],
    ) -> None:
        self._app, self._limits, self._metrics, self._watch = app, limits, metrics, watch
        self._key = None if key is None else key.encode()
        self._paths, self._running = paths, 0

    async def __call__(self, scope, receive, send) -> None:
        """Pass a request on, or refuse it."""
        if scope['type'] != 'http':
            await self._app(scope, receive, send)
            return
        # a path that nobody serves must not become a label
        path = scope['path'] if scope['path'] in (*self._paths, _OPEN, '/metrics') else 'other'
        start, status = time.perf_counter(), None

        async def count(message) -> None:
            nonlocal status
            if message['type'] == 'http.response.start':
                status = message['status']
            await send(message)

        try:
            self._check_key(scope)
            if path in self._paths and scope['method'] == 'POST':
                await self._admit(scope, receive, count)
            else:
                await self._app(scope, receive, count)
        except Refused as error:
            if status is None:
                response = JSONResponse(
                    dict(detail=error.reason), error.status, headers=error.headers
                )
                await response(scope, receive, count)
        finally:
            if status is None:
                self._metrics.dropped.inc()
            else:
                self._metrics.requests.labels(path, status).inc()
                self._metrics.seconds.labels(path).observe(time.perf_counter() - start)

    def _check_key(self, scope) -> None:
        if self._key is None or scope['path'] == _OPEN:
            return
        headers = dict(scope['headers'])
        given = headers.get(b'x-api-key', headers.get(b'authorization', b''))
        if not hmac.compare_digest(given.removeprefix(b'Bearer '), self._key):
            raise Refused(401, 'The key is missing or wrong: send Authorization: Bearer KEY.')

    async def _admit(self, scope, receive, send) -> None:
        if self._running >= self._limits.requests:
            raise Refused(429, 'The service is busy; try again.', retry_after=1)
        self._count_running(1)
        try:
            await self._answer(scope, receive, send)
        finally:
            self._count_running(-1)

    def _count_running(self, change: int) -> None:
        self._running += change
        self._metrics.running.set(self._running)
        self._watch(self._running)

    async def _answer(self, scope, receive, send) -> None:
        headers = dict(scope['headers'])
        kind = headers.get(b'content-type', b'').partition(b';')[0].strip().lower()
        if kind != b'application/json':
            raise Refused(415, 'Send JSON, with the header Content-Type: application/json.')
        length = headers.get(b'content-length', b'0')
        if length.isdigit() and int(length) > self._limits.num_bytes:
            raise self._too_large()
        try:
            body = await asyncio.wait_for(self._read(receive), self._limits.seconds)
        except asyncio.TimeoutError:
            raise Refused(408, 'The request did not arrive in time.') from None
        if body is None:
            return
        messages = iter([dict(type='http.request', body=body, more_body=False)])
        gone = asyncio.ensure_future(receive())  # the next message is that the client is gone

        async def replay():
            return next(messages, None) or await asyncio.shield(gone)

        work = asyncio.ensure_future(self._app(scope, replay, send))
        try:
            await asyncio.wait(
                {work, gone}, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if work.done():
                work.result()
            elif not gone.done():
                seconds = f'{self._limits.seconds:g}'
                raise Refused(503, f'There was no answer within {seconds} s.', retry_after=1)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _read(self, receive) -> bytes | None:
        """The body; None if the client went away."""
        body = bytearray()
        while True:
            message = await receive()
            if message['type'] == 'http.disconnect':
                return None
            body += message.get('body', b'')
            if len(body) > self._limits.num_bytes:
                raise self._too_large()
            if not message.get('more_body', False):
                return bytes(body)

    def _too_large(self) -> Refused:
        return Refused(413, f'A request has at most {self._limits.num_bytes} bytes.')
