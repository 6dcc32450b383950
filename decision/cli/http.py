"""Calls to a server: JSON in, JSON out."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

from decision.cli.output import Fail
from decision.redaction import redacted

TIMEOUT: Final = 30.0
"""Seconds."""


def call(url: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
    """(status, what came) of a GET, or with a body of a POST.

    Raises:
        Fail: there is no server there.
    """
    if not url.startswith(("http://", "https://")):
        raise Fail(
            f"{redacted(url)} is not the address of a server; write it as http://127.0.0.1:8000"
        )
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    here = request.host.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
    # For this machine itself, the environment's proxies are not used.
    proxies = [urllib.request.ProxyHandler({})] if here else []
    opener = urllib.request.build_opener(*proxies)
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return answer.status, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, _decoded(error.read())
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Fail(f"{redacted(url)} cannot be reached: {reason}") from None


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:200]
