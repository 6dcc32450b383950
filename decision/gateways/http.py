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
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec

from decision.core.values import MISSING, equal
from decision.files import read_regular
from decision.gateways.client import HttpClient, Reply, problem_of_headers, problem_of_url
from decision.gateways.json_paths import Path, at_path, parse_path
from decision.gateways.protocol import (
    Accepted,
    GatewayConfig,
    OnUnknown,
    Outgoing,
    Rejected,
    Result,
    Retry,
    Unknown,
)
from decision.gateways.registry import GatewayType
from decision.gateways.targets import Targets, problem_of_networks
from decision.gateways.templating import Unrenderable, names_of, text, tree
from decision.rulebook.template_syntax import TemplateError, is_template

_RETRIED: Final = frozenset({401, 403, 407, 408, 409, 421, 423, 425, 429})
"""Refusals that are about the account or the moment, not about the delivery."""

_LOST: Final = 504
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_LONGEST_REASON: Final = 200
_SHORTEST_ADDRESS: Final = 5
_LARGEST_TOKEN: Final = 16 * 1024

Body = dict[str, Any] | list[Any] | str | None


class Exists(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether there is anything at a place of the reply; null is nothing."""

    exists: bool


Wanted = bool | int | float | str | None | list[bool | int | float | str | None] | Exists


class AcceptedWhen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a reply means that the provider has taken the delivery; left out, any 2xx does.

    `where` are values at places of the reply, all of which must be there; `id` is the place of the
    provider's name for it.
    """

    status: int | list[int] | None = None
    id: str | None = None
    where: dict[str, Wanted] = msgspec.field(default_factory=dict)


class RejectedWhen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a reply means that it never will, also with a status of success."""

    status: int | list[int] | None = None
    where: dict[str, Wanted] = msgspec.field(default_factory=dict)
    reason: str | None = None


class HttpConfig(GatewayConfig, frozen=True, kw_only=True):
    """`body` is data, in which each text is a template; or one text, which is a template itself.

    `format` is how it is sent. `bearer_file` is a file with a token for the header Authorization;
    it is read for each attempt, so that something else may renew it.
    """

    url: str
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: Body = None
    format: Literal["json", "form", "text"] = "json"
    bearer_file: str | None = None
    accepted: AcceptedWhen = AcceptedWhen()
    rejected: RejectedWhen | None = None


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
        self._accepted = _Conditions(config.accepted.status, config.accepted.where)
        self._id = None if config.accepted.id is None else parse_path(config.accepted.id)
        self._rejected: _Conditions | None = None
        self._reason: Path | None = None
        if (rejected := config.rejected) is not None:
            self._rejected = _Conditions(rejected.status, rejected.where)
            self._reason = None if rejected.reason is None else parse_path(rejected.reason)
        self._client = client or HttpClient(
            timeout=config.timeout, targets=Targets(config.allow_private)
        )

    async def send(self, outgoing: Outgoing) -> Result:
        """One attempt."""
        names = names_of(outgoing)
        try:
            url = self._url(names)
            headers = self._given_headers(outgoing, names)
            body = self._body(names)
        except Unrenderable as error:
            return Rejected(str(error))
        if (path := self._config.bearer_file) is not None:
            token = await self._token(path)
            if not isinstance(token, str):
                return token
            headers.setdefault("authorization", f"Bearer {token}")
        reply = await self._client.send(self._config.method, url, headers, body)
        if not isinstance(reply, Reply):
            return reply
        found = self._judged(reply)
        if isinstance(found, Retry | Rejected):
            reason = _without(found.reason, names["customer"])
            return msgspec.structs.replace(found, reason=reason)
        return found

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

    async def _token(self, path: str) -> str | Retry:
        """What the file has; beside the loop, since the disk may be one that hangs."""
        try:
            async with asyncio.timeout(self._config.timeout):
                data = await asyncio.to_thread(read_regular, path, _LARGEST_TOKEN)
        except OSError as error:  # also where it is not read in time
            return Retry(reason=f"{path}: {error.strerror or 'it was not read in time'}")
        return data.decode("latin-1").strip()

    def _judged(self, reply: Reply) -> Result:
        """What a reply means."""
        content: Any = MISSING
        if self._reads and reply.end == "complete":
            try:
                content = msgspec.json.decode(reply.body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                content = MISSING
        rejected = self._rejected
        if rejected is not None and rejected.hold(reply.status, content):
            return Rejected(self._said(reply, content))
        if self._accepted.fits(reply.status):
            if reply.end == "lost":
                return Unknown("the connection ended in the middle of the answer")
            where = self._accepted.where or (rejected is not None and rejected.where)
            if where and content is MISSING:
                return Unknown("the answer is not the JSON that accepted and rejected speak of")
            if self._accepted.hold(reply.status, content):
                return Accepted(self._provider_id(content))
            return Retry(after=reply.retry_after(), reason=self._said(reply, content))
        if reply.status == _LOST:
            return Unknown("the provider's own server did not answer in time (504)")
        if 400 <= reply.status < 500 and reply.status not in _RETRIED:
            return Rejected(self._said(reply, content))
        return Retry(after=reply.retry_after(), reason=self._said(reply, content))

    @property
    def _reads(self) -> bool:
        """Whether anything of the reply's body is looked at."""
        rejected = self._rejected
        conditions = self._accepted.where or (rejected is not None and rejected.where)
        return bool(conditions or self._id or self._reason)

    def _provider_id(self, content: Any) -> str | None:
        found = MISSING if self._id is None else at_path(content, self._id)
        if isinstance(found, bool) or not isinstance(found, str | int):
            return None
        return str(found)[:_LONGEST_REASON]

    def _said(self, reply: Reply, content: Any) -> str:
        found = MISSING if self._reason is None else at_path(content, self._reason)
        said = f"the provider answered {reply.status}"
        if isinstance(found, str | int | float):
            said += f": {_CONTROL.sub(' ', str(found))[:_LONGEST_REASON]}"
        elif 300 <= reply.status < 400:
            said += ", and redirects are not followed"
        return said

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


def _without(said: str, customer: Mapping[str, Any]) -> str:
    """What a provider said, without the customer's address: reasons are shown to operators."""
    for value in customer.values():
        if isinstance(value, str) and len(value) >= _SHORTEST_ADDRESS:
            said = said.replace(value, "…")
    return said


_TYPES: Final = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
}


class _Conditions:
    """Conditions on a reply: its status and values in it. Without any, nothing is rejected."""

    def __init__(self, status: int | list[int] | None, where: Mapping[str, Wanted]) -> None:
        self.status = status
        self.where = [(parse_path(path), wanted) for path, wanted in where.items()]

    def fits(self, status: int) -> bool:
        """Whether the status is one of those named; without any, whether it is a 2xx."""
        if self.status is None:
            return 200 <= status < 300
        return status in ([self.status] if isinstance(self.status, int) else self.status)

    def hold(self, status: int, content: Any) -> bool:
        """Whether all of them hold; a status that is left out may be any if there is more."""
        if (self.status is not None or not self.where) and not self.fits(status):
            return False
        return all(_matches(at_path(content, path), wanted) for path, wanted in self.where)


def _matches(found: Any, wanted: Wanted) -> bool:
    if isinstance(wanted, Exists):
        return (found is not MISSING and found is not None) is wanted.exists
    options = wanted if isinstance(wanted, list) else [wanted]
    if found is MISSING or found is None:
        return None in options
    return any(one is not None and equal(found, one) for one in options)


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
            return lambda names: render(names).encode()
        return lambda names: _checked_json(render(names))
    fill = tree(body, what="body")
    if format == "form":
        return lambda names: urlencode(_form(fill(names))).encode()
    return lambda names: msgspec.json.encode(fill(names))


def _form(fields: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in fields.items()
        if value is not None
    }


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


def _check(config: HttpConfig) -> tuple[str, str, str] | None:
    if (networks := problem_of_networks(config.allow_private)) is not None:
        return "allow_private", networks, ""
    fixed = config.url.partition("{")[0]
    if is_template(config.url) and fixed.count("/") < 3:
        return "url", "the host must be written out", "templates may stand in the path and after ?"
    without = config.url if not is_template(config.url) else fixed
    if (problem := problem_of_url(without, config.allow_private)) is not None:
        return "url", *problem
    for key, render in (
        ("url", lambda: text(config.url, what="url", url=True)),
        ("headers", lambda: [text(one, what="") for one in config.headers.values()]),
        ("body", lambda: _compiled(config)),
    ):
        try:
            render()
        except TemplateError as error:
            return key, str(error), error.hint
    if config.format == "form" and not _is_flat(config.body):
        return "body", "a form has names and texts, nothing nested", ""
    if config.format == "text" and not isinstance(config.body, str | None):
        return "body", "with format: text it must be one text", ""
    if config.body is not None and config.method == "GET":
        return "body", "a GET has none", "write what it asks for into the url"
    if (headers := problem_of_headers(config.headers)) is not None:
        return "headers", *headers
    rejected = config.rejected or RejectedWhen()
    if config.rejected is not None and rejected.status is None and not rejected.where:
        return "rejected", "it has neither status nor where", "write status: 404, or where: {…}"
    for key, paths in (
        ("accepted", [*config.accepted.where, config.accepted.id]),
        ("rejected", [*rejected.where, rejected.reason]),
    ):
        for path in paths:
            try:
                parse_path("$" if path is None else path)
            except ValueError as error:
                return key, "it has something that is no path", str(error)
    return None


def _is_flat(body: Body) -> bool:
    return isinstance(body, dict) and not any(isinstance(one, dict | list) for one in body.values())


TYPE = GatewayType(config=HttpConfig, make=lambda config, context: Http(config), check=_check)
