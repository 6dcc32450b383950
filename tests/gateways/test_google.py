"""Tokens by the key of a service account: signed as Google asks, and asked for no more than needed."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from decision.gateways import Accepted, GatewaySettingsError, Result, Retry, parse_gateways
from decision.gateways.google import SCOPE
from decision.gateways.protocol import Gateway
from tests.gateways.chaos import Server, Writer, reply, serving
from tests.gateways.outgoing import outgoing

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


class Google:
    """Gives tokens, and takes messages of the newest one."""

    def __init__(self, **token_answer: Any) -> None:
        self.tokens: list[dict[str, list[str]]] = []
        self.messages: list[str] = []
        self.token_answer = token_answer
        self.revoked: set[str] = set()
        self.server: Server | None = None

    async def answer(self, writer: Writer) -> None:
        assert self.server is not None
        request = self.server.requests[-1]
        if request.line.startswith("POST /token "):
            self.tokens.append(parse_qs(request.body.decode()))
            given = {"access_token": f"T{len(self.tokens)}", "expires_in": 3599}
            status = self.token_answer.pop("status", 200)
            found = reply(status, json.dumps(given | self.token_answer).encode())
        else:
            token = request.headers["authorization"]
            self.messages.append(token)
            found = reply(401 if token in self.revoked else 200, b'{"name": "m/1"}')
        writer.write(found)
        await writer.drain()


def deliver(
    google: Google,
    folder: Path,
    run: Callable[[Gateway], Awaitable[Any]],
    private: str = "true",
    **key: Any,
) -> Any:
    async def main() -> Any:
        async with serving(google.answer) as server:
            google.server = server
            at = f"http://127.0.0.1:{server.port}"
            given = {"client_email": "a@x.example", "private_key": PEM, "private_key_id": "k1"}
            file = folder / "key.json"
            file.write_text(json.dumps({**given, "token_uri": f"{at}/token", **key}))
            written = (
                f"gateways: {{t: {{type: http, allow_private: {private}, url: '{at}/send', "
                f"google_key_file: {file}, accepted: {{status: 200, id: $.name}}}}}}"
            )
            gateway = parse_gateways("gateways.yaml", written, {}).open("t")
            try:
                return await run(gateway)
            finally:
                await gateway.close()

    return asyncio.run(main())


async def once(gateway: Gateway) -> Result:
    return await gateway.send(outgoing())


def test_the_claim_is_signed_as_google_asks(tmp_path: Path) -> None:
    google = Google()
    assert deliver(google, tmp_path, once) == Accepted("m/1")
    (asked,) = google.tokens
    assert asked["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    header, claims, signature = (
        base64.urlsafe_b64decode(part + "==") for part in asked["assertion"][0].split(".")
    )
    text = asked["assertion"][0].rpartition(".")[0].encode()
    KEY.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(header) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    said = json.loads(claims)
    assert (said["iss"], said["scope"]) == ("a@x.example", SCOPE)
    assert said["aud"].endswith("/token")
    assert said["exp"] - said["iat"] == 3600 and abs(said["iat"] - time.time()) < 60


def test_one_token_is_asked_for_however_many_wait_and_a_refused_one_is_renewed(
    tmp_path: Path,
) -> None:
    google = Google()

    async def run(gateway: Gateway) -> None:
        found = await asyncio.gather(*(once(gateway) for _ in range(20)))
        assert found == [Accepted("m/1")] * 20
        assert len(google.tokens) == 1
        google.revoked.add("Bearer T1")
        assert await once(gateway) == Retry(reason="the provider answered 401", refused=True)
        assert await once(gateway) == Accepted("m/1")
        assert google.messages[-1] == "Bearer T2"

    deliver(google, tmp_path, run)


@pytest.mark.parametrize(
    ("key", "answer", "reason"),
    [
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n"}, {}, "private_key is no RSA key"),
        ({"client_email": None}, {}, "it is no JSON key of a service account"),
        ({"token_uri": "ftp://x"}, {}, "token_uri: "),
        ({}, {"status": 400, "access_token": "", "error": "invalid_grant"}, "this machine's clock"),
        ({}, {"access_token": "a\r\nb: c"}, "Google gives no token: it answered 200"),
        ({}, {"access_token": 7}, "Google gives no token: it answered 200"),
    ],
)
def test_without_a_token_it_waits_and_the_reason_has_no_secret(
    tmp_path: Path, key: dict[str, Any], answer: dict[str, Any], reason: str
) -> None:
    google = Google(**answer)
    found = deliver(google, tmp_path, once, **key)
    assert isinstance(found, Retry) and reason in found.reason
    assert "AAAA" not in found.reason and google.messages == []


def test_tokens_too_are_asked_for_at_allowed_addresses_only(tmp_path: Path) -> None:
    google = Google()
    with pytest.raises(GatewaySettingsError):
        deliver(google, tmp_path, once, private="false")
    there = deliver(
        google, tmp_path, once, private="['127.0.0.1/32']", token_uri="http://127.0.0.9/"
    )
    assert isinstance(there, Retry) and google.tokens == []


def test_a_key_file_that_is_gone_or_doubled_is_named(tmp_path: Path) -> None:
    written = "gateways: {t: {type: http, url: 'https://x.example/', google_key_file: gone.json%s}}"

    async def run() -> Result:
        gateway = parse_gateways("gateways.yaml", written % "", {}).open("t")
        return await once(gateway)

    assert asyncio.run(run()) == Retry(reason="gone.json: No such file or directory")
    with pytest.raises(GatewaySettingsError, match="there is a bearer_file too"):
        parse_gateways("gateways.yaml", written % ", bearer_file: b", {})
