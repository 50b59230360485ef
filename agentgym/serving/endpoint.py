"""The HTTP face of a gateway: routes, limits, and errors in OpenAI's form, as an ASGI application."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from agentgym.serving.gateway import Gateway
from agentgym.serving.openai_api import ApiError, event_stream

MAX_BODY_BYTES = 4 * 2**20
Handler = Callable[[Gateway, bytes, Mapping[str, str]], Awaitable[Response]]


def build_endpoint(gateway: Callable[[], Gateway], *, max_body_bytes: int = MAX_BODY_BYTES) -> Starlette:
    """The application; `gateway` gives the one to ask, at each request."""

    def route(path: str, method: str, handler: Handler, *, is_open: bool = False) -> Route:
        async def respond(request: Request) -> Response:
            try:
                present = gateway()
                if not is_open:
                    await present.authorize(request.headers)
                return await handler(present, await _body(request, max_body_bytes), request.headers)
            except ApiError as error:
                return _json(error.body(), status=error.status)

        return Route(path, respond, methods=[method])

    routes = [
        route("/v1/chat/completions", "POST", _chat),
        route("/v1/feedback", "POST", _feedback),
        route("/v1/models", "GET", _models),
        route("/healthz", "GET", _health, is_open=True),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _not_a_route, Exception: _unforeseen})


async def _chat(gateway: Gateway, body: bytes, headers: Mapping[str, str]) -> Response:
    reply = await gateway.chat(body, headers)
    told = {"x-conversation-id": reply.conversation_id, "x-agentgym-version": reply.variant}
    if reply.is_stream:
        return Response(event_stream(reply.body), media_type="text/event-stream", headers=told)
    return _json(orjson.dumps(reply.body), headers=told)


async def _feedback(gateway: Gateway, body: bytes, headers: Mapping[str, str]) -> Response:
    return _json(orjson.dumps(await gateway.feedback(body, headers)))


async def _models(gateway: Gateway, _: bytes, __: Mapping[str, str]) -> Response:
    return _json(orjson.dumps({"object": "list", "data": gateway.models()}))


async def _health(gateway: Gateway, _: bytes, __: Mapping[str, str]) -> Response:
    state = gateway.state
    body = {"status": "ok" if state.epoch is not None else "waiting", "agent": gateway.agent, "epoch": state.epoch}
    return _json(orjson.dumps(body), status=200 if state.epoch is not None else 503)


async def _body(request: Request, most: int) -> bytes:
    """The request's body, refused as soon as it is too large."""
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise ApiError(
                    status=413, message=f"A body has at most {most:,} bytes; this one has more. Send less.", code="request_too_large"
                )
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise ApiError(status=400, message="The client hung up before its request was read. Send it again.") from error
    return b"".join(chunks)


async def _not_a_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = f"{request.method} {request.url.path[:100]} is not served. Served: POST /v1/chat/completions, POST /v1/feedback, GET /v1/models."
    return _json(ApiError(status=status, message=told, code="not_found").body(), status=status)


async def _unforeseen(_: Request, error: Exception) -> Response:
    told = f"The endpoint failed with {type(error).__name__}; its log says where. Try again."
    return _json(ApiError(status=500, message=told, kind="server_error").body(), status=500)


def _json(body: bytes, *, status: int = 200, headers: dict[str, Any] | None = None) -> Response:
    return Response(body, status_code=status, media_type="application/json", headers=headers)
