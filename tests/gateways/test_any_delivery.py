"""Whatever a customer and a content are, every gateway answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.gateways import Accepted, Rejected, Retry, parse_gateways
from decision.gateways.protocol import Gateway
from tests.gateways.outgoing import outgoing
from tests.ports import free_port

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "subject",
        "title",
        "html",
        "text",
        "body",
        "template_id",
        "data",
        "msgtype",
        "image",
        "url",
        "x",
    ]
)
PEOPLE = st.dictionaries(
    st.sampled_from(["email", "phone", "wechat_openid", "language", "id", "x"]), VALUES, max_size=4
)
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Gateway]:
    port = free_port()
    target = f"allow_private: true, url: 'http://127.0.0.1:{port}/{{{{ customer.x }}}}?a={{{{ content.x }}}}'"
    fixed = f"http://127.0.0.1:{port}/"
    text = f"""
unsubscribe: {{url: 'https://m.example', secret: {KEY}}}
gateways:
  webhook: {{type: webhook, url: '{fixed}', secret: {KEY}, attributes: [x], aliases: [email], allow_private: true}}
  data: {{type: http, {target}, headers: {{X-A: '{{{{ customer.x }}}}'}}, body: {{a: '{{{{ content.x }}}}'}}}}
  form: {{type: http, {target}, format: form, body: {{a: '{{{{ content.x }}}} {{{{ delivery.at }}}}'}}}}
  text: {{type: http, {target}, body: '{{"a": "{{% for one in content.x %}}{{{{ one.x }}}}{{% endfor %}}"}}'}}
  mail: {{type: smtp, host: 127.0.0.1, port: {port}, from: a@b.example, headers: {{X-A: '{{{{ customer.x }}}}'}}, allow_private: true}}
  wechat: {{type: wechat, app_id: a, secret: b, base_url: '{fixed}', allow_private: true}}
  file: {{type: file, path: {tmp_path_factory.mktemp("out")}}}
"""
    found = parse_gateways("g.yaml", text, {})
    return {name: found.open(name) for name in found.gateways}


@given(
    content=st.dictionaries(NAMES, VALUES, max_size=5),
    attributes=PEOPLE,
    aliases=st.dictionaries(
        st.sampled_from(["email", "wechat_openid"]), st.lists(TEXT, max_size=2)
    ),
    names=st.fixed_dictionaries(dict.fromkeys(("message", "customer_id", "purpose", "id"), TEXT)),
    language=st.none() | TEXT,
)
@settings(max_examples=60, deadline=None)
def test_every_gateway_answers_for_any_delivery(
    gateways: dict[str, Gateway],
    content: Any,
    attributes: Any,
    aliases: Any,
    names: Any,
    language: Any,
) -> None:
    one = outgoing(
        content=content, attributes=attributes, aliases=aliases, language=language, **names
    )

    async def run() -> None:
        for name, gateway in gateways.items():
            found = await gateway.send(one)
            expected = (Accepted,) if name == "file" else (Retry, Rejected)
            assert isinstance(found, expected), (name, found)

    asyncio.run(run())


def test_the_files_written_are_lines_of_json(gateways: dict[str, Gateway]) -> None:
    import json

    folder: Path = gateways["file"].folder  # type: ignore[attr-defined]
    for file in folder.iterdir():
        for line in file.read_bytes().splitlines():
            assert set(json.loads(line)) == {
                "decision_id",
                "message",
                "channel",
                "customer_id",
                "content",
                "at",
            }
