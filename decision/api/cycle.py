"""One request and its answer: uvicorn's, with answers that cost less to send."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_ORDINARY: Final = re.compile(
    rb"(?:(?!connection:|transfer-encoding:)[a-z0-9-]+: [\x20-\x7e]*\r\n)*"
)
"""The headers of an answer after which the connection goes on."""


@lru_cache(4)
def _lines(*rows: tuple[bytes, bytes]) -> bytes:
    """Headers as they are sent; those of all answers change once a second."""
    return b"".join([b"%b: %b\r\n" % row for row in rows])


class Cycle(RequestResponseCycle):
    """A request under way.

    uvicorn looks at each header by itself. An ordinary head, as nearly all are, is looked at once;
    others are left to uvicorn.
    """

    async def send(self, message: Any) -> None:
        """Sends a part of the answer."""
        if not self.response_started and message["type"] == "http.response.start":
            if self.waiting_for_100_continue and self.more_body:
                self.keep_alive = False  # its body was never asked for, so it cannot go on
            if self.keep_alive and not self.flow.write_paused and not self.disconnected:
                head = self._ordinary_head(message)
                if head is not None:
                    self.response_started, self.waiting_for_100_continue = True, False
                    self.transport.write(head)
                    return
        await super().send(message)

    async def give(self, status: int, lines: bytes, body: bytes) -> bool:
        """As `give_now`, once what was written before is sent; false if its client has gone."""
        while self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        return not self.disconnected and self.give_now(status, lines, body)

    def give_now(self, status: int, lines: bytes, body: bytes) -> bool:
        """Sends a whole answer in one piece; false if its client has gone, or is to read first.

        `lines` are its headers as they are sent, `Content-Length` among them.
        """
        if self.flow.write_paused or self.disconnected:
            return False
        self.response_started = self.response_complete = True
        default = _lines(*self.default_headers)
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], default, lines, end, body)))
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True

    def _ordinary_head(self, message: Any) -> bytes | None:
        """The head of an answer that tells its body's length; None where uvicorn has to look."""
        rows = [*self.default_headers, *message["headers"]]
        lines = b"".join([b"%b: %b\r\n" % (name, value) for name, value in rows])
        each = dict(rows)
        length = each.get(b"content-length", b"")
        plain = len(each) == len(rows) == lines.count(b"\n") and length.isdigit()
        if not plain or _ORDINARY.fullmatch(lines) is None:
            return None
        self.expected_content_length, self.chunked_encoding = int(length), False
        return b"%b%b\r\n" % (STATUS_LINE[message["status"]], lines)
