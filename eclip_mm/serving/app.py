"""The ASGI application."""

import logging
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from eclip_mm.apis import Eclip
from eclip_mm.index import Index
from eclip_mm.serving.gate import Gate
from eclip_mm.serving.limits import Limits, Refused
from eclip_mm.serving.messages import (
    ClassifyRequest,
    EncodeRequest,
    LocateRequest,
    SearchRequest,
)
from eclip_mm.serving.metrics import Metrics
from eclip_mm.serving.service import Service


class PlainJSON(JSONResponse):
    """JSON of columns of any type; what is not finite is null."""

    def render(self, content) -> bytes:
        """The content as bytes."""
        return to_json(content, inf_nan_mode='null', fallback=str)


def build_app(
    eclip: Eclip,
    index: Index | None = None,
    limits: Limits | None = None,
    key: str | None = None,
) -> Gate:
    """The application for uvicorn or another ASGI server; it starts the model's thread.

    Args:
        eclip: the model.
        index: what ``/search`` searches; None for no search.
        limits: None for the defaults of the device.
        key: what requests must have; None for no key.

    Raises:
        ValueError: the index was built with other weights, or the key is empty.
    """
    if key is not None and not key.strip():
        raise ValueError('the key of the service is empty')
    limits, metrics = limits or Limits.of_device(eclip.device), Metrics()
    service = Service(eclip, index, limits, metrics)

    @asynccontextmanager
    async def lifespan(app):
        service.batcher.start()
        yield
        service.batcher.close()

    # no pages of documentation: they load scripts from other servers
    app = FastAPI(title='eclip-mm', lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(Refused, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(ValueError, _refuse_value)
    app.add_exception_handler(OSError, _fail_for_now)
    app.add_exception_handler(Exception, _fail)

    @app.get('/healthz')
    async def healthz() -> dict:
        return service.health()

    @app.get('/metrics')
    async def text_of_metrics() -> Response:
        return Response(metrics.text(), media_type='text/plain; version=0.0.4; charset=utf-8')

    @app.post('/encode')
    async def encode(request: EncodeRequest) -> Response:
        return PlainJSON(await service.encode(request))

    @app.post('/locate')
    async def locate(request: LocateRequest) -> Response:
        return PlainJSON(await service.locate(request))

    @app.post('/classify')
    async def classify(request: ClassifyRequest) -> Response:
        return PlainJSON(await service.classify(request))

    @app.post('/search')
    async def search(request: SearchRequest) -> Response:
        return PlainJSON(await service.search(request))

    paths = ('/encode', '/locate', '/classify', '/search')
    return Gate(app, limits, metrics, service.batcher.expect, key, paths)


async def _refuse(request: Request, error: Refused) -> Response:
    return JSONResponse(dict(detail=error.reason), error.status, headers=error.headers)


async def _refuse_invalid(request: Request, error: RequestValidationError) -> Response:
    """Names the key, and unlike FastAPI's own answer does not repeat the request."""
    first = error.errors()[0]
    where = '.'.join(str(part) for part in first['loc'][1:]) or 'the body'
    where = where.encode(errors='replace').decode()[:200]
    return JSONResponse(dict(detail=f'{where}: {first["msg"]}.'), 422)


async def _refuse_value(request: Request, error: ValueError) -> Response:
    """What model and index refuse, such as a condition on an unknown column."""
    return JSONResponse(dict(detail=f'{error}.'.encode(errors='replace').decode()), 422)


async def _fail_for_now(request: Request, error: OSError) -> Response:
    """What the index of a database raises where that does not answer."""
    logging.getLogger('uvicorn.error').error('%s', error)
    refused = Refused(503, 'The index does not answer; the log says why.', retry_after=1)
    return await _refuse(request, refused)


async def _fail(request: Request, error: Exception) -> Response:
    """The server logs the error."""
    return JSONResponse(dict(detail='The service failed; its log says why.'), 500)
