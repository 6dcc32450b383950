"""Answers: bytes that are ready to send, without a serialisation layer in between."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import msgspec
from litestar import Request
from litestar.types import Receive, Scope, Send

from decision.api.problems import JSON, PRIVATE
from decision.core.errors import InputError

LONGEST_ID: Final = 256

encode_json = msgspec.json.Encoder().encode


class Answer:
    """A complete answer. JSON unless `content_type` says otherwise; never kept by caches."""

    __slots__ = ("content", "headers", "status", "type_header")

    def __init__(
        self,
        content: bytes,
        status: int = 200,
        content_type: tuple[bytes, bytes] = JSON,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.content = content
        self.status = status
        self.type_header = content_type
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        headers = [PRIVATE, *self.headers]
        if self.status != 204:
            length = str(len(self.content)).encode()
            headers += [self.type_header, (b"content-length", length)]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.content, "more_body": False})


def json_answer(value: Any, status: int = 200) -> Answer:
    """A value as JSON."""
    return Answer(encode_json(value), status)


def path_id(request: Request[Any, Any, Any], name: str) -> str:
    """An id in the path, where it may be percent-encoded.

    Raises:
        InputError: it is not UTF-8, or too long.
    """
    try:
        value = unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError:
        raise InputError(name, "is not percent-encoded UTF-8") from None
    if len(value) > LONGEST_ID:
        raise InputError(name, f"has {len(value)} characters, may have {LONGEST_ID}")
    return value
