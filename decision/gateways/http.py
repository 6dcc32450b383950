"""Any provider with an HTTP API: a templated request, and conditions on the reply.

texts:
  type: http
  url: https://api.example.com/messages
  headers: {Authorization: "Bearer ${TOKEN}"}
  body: {to: "{{ customer.phone }}", text: "{{ content.body }}"}
  accepted: {status: 201, id: $.sid}
  rejected: {where: {$.code: [21211, 21610]}, reason: $.message}
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec

from decision.files import read_regular
from decision.gateways.client import HttpClient, Reply, problem_of_url, problems_of_headers
from decision.gateways.google import google_token
from decision.gateways.http_replies import AcceptedWhen, Judge, RejectedWhen, without
from decision.gateways.json_paths import parse_path
from decision.gateways.problems import Problem
from decision.gateways.protocol import (
    AudiencePortion,
    GatewayConfig,
    OnUnknown,
    Outgoing,
    Rejected,
    Result,
    Retry,
)
from decision.gateways.registry import GatewayType
from decision.gateways.targets import Targets, problems_of_networks
from decision.gateways.templating import (
    Needs,
    Unrenderable,
    names_of,
    problems_of_templates,
    text,
    tree,
)
from decision.rulebook.template_syntax import is_template

_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_LARGEST_TOKEN: Final = 16 * 1024

Body = dict[str, Any] | list[Any] | str | None


class HttpConfig(GatewayConfig, frozen=True, kw_only=True):
    """`body` is data, in which each text is a template; or one text, which is a template itself.

    `format` is how it is sent. `bearer_file` is a file with a token for the header Authorization;
    it is read for each attempt, so that something else may renew it. `google_key_file` is the key
    of a service account, by which tokens are got from Google.
    """

    url: str
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: Body = None
    format: Literal["json", "form", "text"] = "json"
    bearer_file: str | None = None
    google_key_file: str | None = None
    accepted: AcceptedWhen = AcceptedWhen()
    rejected: RejectedWhen | None = None

    @property
    def tells_of_deliveries(self) -> bool:
        """Whether a template stands in it; without one, each request is like the last."""
        return any(map(is_template, _texts([self.url, self.headers, self.body])))


class Http:
    """Sends each delivery as one request."""

    on_unknown_default: OnUnknown = "hold"

    def __init__(self, config: HttpConfig, client: HttpClient | None = None) -> None:
        self._config = config
        self._url = text(config.url, what="url", url=True)
        self._headers = {
            name.lower(): text(value, what=f"headers.{name}")
            for name, value in config.headers.items()
        }
        self._body = _compiled(config)
        self._needs = Needs({"url": config.url, "headers": config.headers, "body": config.body})
        self._judge = Judge(config.accepted, config.rejected)
        self._client = client or HttpClient(
            timeout=config.timeout, targets=Targets(config.allow_private)
        )
        key = config.google_key_file
        self._google = key and google_token(key, self._client, config.allow_private)

    async def send(self, outgoing: Outgoing) -> Result:
        """One attempt."""
        names = names_of(outgoing)
        try:
            self._needs.check(names)
            url = self._url(names)
            headers = self._given_headers(outgoing, names)
            body = self._body(names)
        except Unrenderable as error:
            return Rejected(str(error))
        found = await self._request(url, headers, body)
        if isinstance(found, Retry | Rejected):
            reason = without(found.reason, names["customer"])
            return msgspec.structs.replace(found, reason=reason)
        return found

    @property
    def why_no_portions(self) -> str | None:
        """Why it cannot take audiences, or None."""
        config = self._config
        fixed = [config.url, *config.headers.values()]
        if config.body is None and config.method != "GET" and not any(map(is_template, fixed)):
            return None
        return (
            "it is set up for messages, one at a time; for audiences name a gateway without body "
            "and GET, and without templates in url and headers"
        )

    async def send_portion(self, portion: AudiencePortion) -> Result:
        """One attempt to hand over a portion of an audience, as JSON.

        Only where the config is of no one message: without a body, and without templates.
        """
        config = self._config
        if (why := self.why_no_portions) is not None:
            return Rejected(why)
        headers = {
            "user-agent": "nextbest",
            "idempotency-key": portion.key,
            "content-type": _TYPES["json"],
            **{name.lower(): value for name, value in config.headers.items()},
        }
        return await self._request(config.url, headers, msgspec.json.encode(portion.payload()))

    async def _request(self, url: str, headers: dict[str, str], body: bytes) -> Result:
        token = await self._token()
        if isinstance(token, Retry):
            return token
        if token is not None:
            headers.setdefault("authorization", f"Bearer {token}")
        reply = await self._client.send(self._config.method, url, headers, body)
        if not isinstance(reply, Reply):
            return reply
        if reply.status == 401 and token is not None and self._google:
            self._google.forget(token)
        return self._judge.of(reply)

    def _given_headers(self, outgoing: Outgoing, names: dict[str, Any]) -> dict[str, str]:
        found = {"user-agent": "nextbest", "idempotency-key": outgoing.key}
        if self._config.body is not None:
            found["content-type"] = _TYPES[self._config.format]
        for name, render in self._headers.items():
            value = render(names)
            if _CONTROL.search(value):
                raise Unrenderable(f"headers.{name} has a line break or a control character")
            found[name] = value
        return found

    async def _token(self) -> str | Retry | None:
        """The token that is sent along; None where there is none to be sent.

        Files are read beside the loop, since the disk may be one that hangs.
        """
        path = self._config.bearer_file
        try:
            async with asyncio.timeout(self._config.timeout / 2):
                if self._google:
                    return await self._google.get()
                if path is None:
                    return None
                data = await asyncio.to_thread(read_regular, path, _LARGEST_TOKEN)
        except OSError as error:  # also where it is not read in time
            reason = error.strerror or "nothing came of it in time"
            return Retry(reason=f"{path or self._config.google_key_file}: {reason}")
        return data.decode("latin-1").strip()

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


_TYPES: Final = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
}


def _compiled(config: HttpConfig) -> Callable[[dict[str, Any]], bytes]:
    """The body as a function of the names.

    Raises:
        TemplateError: a text in it is not a valid template.
    """
    body, format = config.body, config.format
    if body is None:
        return lambda names: b""
    if isinstance(body, str):
        render = text(body, what="body", json=format == "json")
        if format != "json":
            return lambda names: _some(render(names)).encode()
        return lambda names: _checked_json(render(names))
    fill = tree(body, what="body")
    if format == "form":
        return lambda names: urlencode(_form(fill(names))).encode()
    return lambda names: msgspec.json.encode(fill(names))


def _texts(value: Any) -> Iterator[str]:
    """Every text in data, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _form(fields: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in fields.items()
        if value is not None
    }


def _some(written: str) -> str:
    """A body that was rendered as one text.

    Raises:
        Unrenderable: it is empty.
    """
    if not written.strip():
        raise Unrenderable("body: nothing is left of it")
    return written


def _checked_json(written: str) -> bytes:
    """A body that was rendered as one text.

    Raises:
        Unrenderable: it is not JSON; the text says where.
    """
    try:
        json.loads(written)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Unrenderable(f"body is not JSON at {place}: {error.msg.lower()}") from None
    return written.encode()


def _check(config: HttpConfig) -> Iterator[Problem]:
    yield from problems_of_networks(config.allow_private)
    fixed = config.url.partition("{")[0]
    if is_template(config.url) and fixed.count("/") < 3:
        yield "url", "the host must be written out", "templates may stand in the path and after ?"
    else:
        without = config.url if not is_template(config.url) else fixed
        if (problem := problem_of_url(without, config.allow_private)) is not None:
            yield "url", *problem
    yield from problems_of_templates(config.url, "url", url=True)
    yield from problems_of_templates(config.headers, "headers")
    yield from problems_of_templates(config.body, "body", json=config.format == "json")
    if config.bearer_file is not None and config.google_key_file is not None:
        yield "google_key_file", "there is a bearer_file too", "take one of them out"
    if config.format == "form" and not _is_flat(config.body):
        yield "body", "a form has names and texts, nothing nested", ""
    if config.format == "text" and not isinstance(config.body, str | None):
        yield "body", "with format: text it must be one text", ""
    if config.body is not None and config.method == "GET":
        yield "body", "a GET has none", "write what it asks for into the url"
    yield from problems_of_headers(config.headers)
    rejected = config.rejected or RejectedWhen()
    if config.rejected is not None and rejected.status is None and not rejected.where:
        yield "rejected", "it has neither status nor where", "write status: 404, or where: {…}"
    for key, places in (
        ("accepted.where", config.accepted.where),
        ("accepted.id", [config.accepted.id]),
        ("rejected.where", rejected.where),
        ("rejected.reason", [rejected.reason]),
    ):
        for place in places:
            try:
                parse_path("$" if place is None else place)
            except ValueError as error:
                yield key, "it is no path", str(error)


def _is_flat(body: Body) -> bool:
    return isinstance(body, dict) and not any(isinstance(one, dict | list) for one in body.values())


TYPE = GatewayType(config=HttpConfig, make=lambda config, context: Http(config), check=_check)
