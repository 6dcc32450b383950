"""The generic HTTP gateway: what is sent, and what a reply means."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.gateways import (
    Accepted,
    GatewaySettingsError,
    Rejected,
    Result,
    Retry,
    Unknown,
    parse_gateways,
)
from decision.gateways.json_paths import at_path, parse_path
from decision.gateways.protocol import Gateway
from decision.gateways.templating import names_of, text
from tests.gateways.chaos import Server, Writer, hang, reply, serving
from tests.gateways.outgoing import outgoing

JSON_BODY = '{to: "{{ customer.phone }}", text: "{{ content.body }}"}'


def opened(url: str, more: str, **environ: str) -> Gateway:
    written = f"gateways: {{t: {{type: http, allow_private: true, url: '{url}', {more}}}}}"
    return parse_gateways("gateways.yaml", written, environ).open("t")


def deliver(
    more: str,
    *answers: Any,
    path: str = "/in",
    environ: dict[str, str] | None = None,
    **changed: Any,
) -> tuple[Result, Server]:
    async def run() -> tuple[Result, Server]:
        async with serving(*answers) as server:
            gateway = opened(f"http://127.0.0.1:{server.port}{path}", more, **environ or {})
            found = await gateway.send(outgoing(**changed))
            await gateway.close()
            return found, server

    return asyncio.run(run())


def sent(more: str, **changed: Any) -> Any:
    found, server = deliver(more, reply(200), **changed)
    assert found == Accepted()
    return server.requests[0]


# -------------------------------------------------------------------------- what is sent


def test_a_body_of_data_has_templates_in_its_texts() -> None:
    request = sent(
        "body: {to: ['{{ customer.phone }}'], n: 5, on: true, none: null, deep: {a: [{b: '{{ content.title }}!'}]},"
        " who: '{{ customer.id }} {{ delivery.id }} {{ delivery.channel }} {{ customer.email }}'}"
    )
    assert request.line == "POST /in HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "to": ["+4915112345678"],
        "n": 5,
        "on": True,
        "none": None,
        "deep": {"a": [{"b": "Hello!"}]},
        "who": f"c-1024 {outgoing().id} push ann@example.com",
    }


def test_of_several_aliases_the_newest_is_used_and_an_attribute_goes_before_them() -> None:
    more = "body: {to: '{{ customer.email }}'}"
    aliases = {"email": ["old@a.example", "new@a.example"]}
    request = sent(more, aliases=aliases)
    assert json.loads(request.body) == {"to": "new@a.example"}
    assert outgoing(aliases=aliases).address("email") == "new@a.example"
    attributes = {"email": "own@a.example"}
    request = sent(more, aliases=aliases, attributes=attributes)
    assert json.loads(request.body) == {"to": "own@a.example"}
    assert outgoing(aliases=aliases, attributes=attributes).address("email") == "own@a.example"


def test_the_idempotency_key_is_the_decision_and_the_message() -> None:
    assert sent(f"body: {JSON_BODY}").headers["idempotency-key"] == outgoing().id
    own = f"body: {JSON_BODY}, headers: {{Idempotency-Key: 'x-{{{{ delivery.id }}}}'}}"
    assert sent(own).headers["idempotency-key"] == f"x-{outgoing().id}"


def test_a_form_has_its_values_encoded() -> None:
    request = sent(
        "format: form, body: {To: '{{ customer.phone }}', Body: '{{ content.body }}', n: 5, ok: true, no: null}",
        content={"body": "a&b=c é\n"},
    )
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode(), strict_parsing=True) == {
        "To": ["+4915112345678"],
        "Body": ["a&b=c é\n"],
        "n": ["5"],
        "ok": ["true"],
    }


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_value_in_a_text_of_json_stays_inside_its_quotes(value: str) -> None:
    render = text('{"to": "{{ content.to }}", "n": 1}', what="body", json=True)
    written = render(names_of(outgoing(content={"to": value})))
    assert json.loads(written) == {"to": value, "n": 1}


def test_a_text_of_json_may_have_loops() -> None:
    request = sent(
        """body: '{"items": [{% for one in content.items %}"{{ one }}"{% if not loop.last %},{% endif %}{% endfor %}]}'""",
        content={"items": ["a", 'b"']},
    )
    assert json.loads(request.body) == {"items": ["a", 'b"']}


def test_a_body_that_is_no_json_is_rejected_with_its_place_and_not_sent() -> None:
    found, server = deliver(
        """body: "{\\n \\"n\\": {{ content.n }}\\n}" """, reply(200), content={"n": "five"}
    )
    assert found == Rejected("body is not JSON at line 2, column 7: expecting value")
    assert server.requests == []
    assert (
        deliver("""body: '{"n": {{ content.n }}}'""", reply(200), content={"n": 5})[0] == Accepted()
    )


def test_values_in_the_path_of_a_url_are_encoded() -> None:
    found, server = deliver(
        "method: PUT, body: {}",
        reply(200),
        path="/u/{{ customer.id }}/m?x={{ content.x }}",
        customer_id="../a b?c#d",
        content={"x": "1&y=2"},
    )
    assert found == Accepted()
    assert server.requests[0].line == "PUT /u/..%2Fa%20b%3Fc%23d/m?x=1%26y%3D2 HTTP/1.1"


def test_a_header_with_a_line_break_is_rejected_and_not_sent() -> None:
    more = "headers: {X-Name: '{{ customer.name }}'}, body: {}"
    for value in ("a\r\nx: y", "a\nb", "a\x00b"):
        found, server = deliver(more, reply(200), attributes={"name": value})
        assert isinstance(found, Rejected) and "headers.x-name" in found.reason
        assert server.requests == []
    assert sent(more, attributes={"name": "Ann"}).headers["x-name"] == "Ann"
    assert isinstance(deliver(more, reply(200), attributes={"name": "茶"})[0], Rejected)


def test_a_text_that_is_too_long_is_rejected_and_not_cut() -> None:
    found, server = deliver(
        "body: {t: '{{ content.a }}{{ content.a }}'}", reply(200), content={"a": "x" * 9000}
    )
    assert isinstance(found, Rejected) and "body.t: a text has more than" in found.reason
    assert server.requests == []


def test_a_token_is_read_from_its_file_for_each_attempt(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(reply(200)) as server:
            gateway = opened(server.url, f"body: {{}}, bearer_file: {tmp_path / 'token'}")
            assert isinstance(await gateway.send(outgoing()), Retry)
            for token in ("one", "two\n"):
                (tmp_path / "token").write_text(token)
                assert await gateway.send(outgoing()) == Accepted()
            found = [one.headers["authorization"] for one in server.requests]
            assert found == ["Bearer one", "Bearer two"]
            await gateway.close()

    asyncio.run(run())


# ------------------------------------------------------------------- what a reply means

TWILIO = (
    "format: form, body: {To: '{{ customer.phone }}'},"
    " accepted: {status: 201, id: $.sid, where: {$.error_code: null, $.status: [queued, sent]}},"
    " rejected: {where: {$.code: [21211, 21610]}, reason: $.message}"
)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (201, {"sid": "SM1", "status": "queued", "error_code": None}, Accepted("SM1")),
        (201, {"sid": "SM1", "status": "queued"}, Accepted("SM1")),
        (201, {"status": "sent"}, Accepted()),
        (201, {"sid": 5, "status": "sent"}, Accepted("5")),
        (201, {"sid": True, "status": "sent"}, Accepted()),
        (201, {"status": "failed"}, Retry(reason="the provider answered 201")),
        (201, {"status": "queued", "error_code": 30003}, Retry(reason="the provider answered 201")),
        (
            201,
            {"code": 21211, "message": "bad\nnumber"},
            Rejected("the provider answered 201: bad number"),
        ),
        (400, {"code": 21211, "message": "bad"}, Rejected("the provider answered 400: bad")),
        (400, {"code": "21211"}, Rejected("the provider answered 400")),
        (503, {"code": 21610}, Rejected("the provider answered 503")),
        (200, {"sid": "SM1", "status": "queued"}, Retry(reason="the provider answered 200")),
        (
            401,
            {"code": 20003, "message": "no"},
            Retry(reason="the provider answered 401: no", refused=True),
        ),
        (404, {}, Rejected("the provider answered 404")),
        (500, {}, Retry(reason="the provider answered 500")),
        (502, {}, Retry(reason="the provider answered 502")),
        (504, {}, Unknown("the provider's own server did not answer in time (504)")),
        (302, {}, Retry(reason="the provider answered 302, and redirects are not followed")),
    ],
)
def test_conditions_on_the_reply_say_what_became_of_it(
    status: int, body: Any, expected: Result
) -> None:
    assert deliver(TWILIO, reply(status, json.dumps(body).encode()))[0] == expected


def test_a_reason_does_not_have_the_customers_address() -> None:
    body = json.dumps({"code": 21211, "message": "The To +4915112345678 is not valid"}).encode()
    found, _ = deliver(TWILIO, reply(400, body))
    assert found == Rejected("the provider answered 400: The To … is not valid")


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff", b"[]"[:1]])
def test_an_answer_that_should_have_said_more_is_an_unknown_outcome(body: bytes) -> None:
    assert isinstance(deliver(TWILIO, reply(201, body))[0], Unknown)


@pytest.mark.parametrize("where", ["$.sid: null", "$.sid: {exists: false}"])
def test_nothing_is_missing_in_an_answer_that_cannot_be_read(where: str) -> None:
    more = f"body: {{}}, rejected: {{where: {{{where}}}}}"
    assert isinstance(deliver(more, reply(200, b"{}"))[0], Rejected)
    for answer in (reply(200, b"<html>"), half):
        assert isinstance(deliver(more, answer)[0], Unknown)


def test_an_answer_cut_as_too_large_says_nothing_of_conditions() -> None:
    large = json.dumps({"pad": "x" * 100_000, "sid": "1", "status": "queued"}).encode()
    assert isinstance(deliver(TWILIO, reply(201, large))[0], Unknown)
    assert deliver("body: {}, accepted: {id: $.sid}", reply(200, large))[0] == Accepted()


def test_a_success_with_an_error_inside_is_none() -> None:
    more = "body: {}, rejected: {where: {$.error: {exists: true}}, reason: $.error.text}"
    assert deliver(more, reply(200, b'{"error": {"text": "no"}}'))[0] == Rejected(
        "the provider answered 200: no"
    )
    assert deliver(more, reply(200, b'{"error": null}'))[0] == Accepted()
    assert deliver(more, reply(200, b"{}"))[0] == Accepted()
    missing = "body: {}, accepted: {where: {$.id: {exists: true}, $.n: {exists: false}}}"
    assert deliver(missing, reply(200, b'{"id": 0}'))[0] == Accepted()
    assert isinstance(deliver(missing, reply(200, b'{"id": 0, "n": 1}'))[0], Retry)


def test_values_of_different_types_are_never_equal() -> None:
    more = "body: {}, accepted: {where: {$.code: 1}}"
    assert deliver(more, reply(200, b'{"code": 1.0}'))[0] == Accepted()
    for body in (b'{"code": true}', b'{"code": "1"}', b'{"code": [1]}'):
        assert isinstance(deliver(more, reply(200, body))[0], Retry)


def test_a_rejecting_status_alone_is_enough() -> None:
    more = "body: {}, rejected: {status: [401, 409]}"
    assert isinstance(deliver(more, reply(409))[0], Rejected)
    assert isinstance(deliver(more, reply(200))[0], Accepted)


def test_several_statuses_may_be_accepted() -> None:
    more = "body: {}, accepted: {status: [200, 409]}"
    assert deliver(more, reply(409))[0] == Accepted()
    assert isinstance(deliver(more, reply(201))[0], Retry)


def test_what_is_not_asked_for_is_not_read() -> None:
    assert deliver("body: {}", reply(200, b"<html>"))[0] == Accepted()


def test_retry_after_is_obeyed() -> None:
    assert deliver("body: {}", reply(429, retry_after="7"))[0] == Retry(
        after=7, reason="the provider answered 429"
    )


async def half(writer: Writer) -> None:
    writer.write(b'HTTP/1.1 201 OK\r\ncontent-length: 100\r\n\r\n{"sid": "S')
    await writer.drain()


@pytest.mark.parametrize("answer", [half, hang])
def test_what_is_lost_is_an_unknown_outcome(answer: Any) -> None:
    assert isinstance(deliver(f"timeout: 1s, {TWILIO}", answer)[0], Unknown)


# ---------------------------------------------------------------------- paths and settings


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", {"a": [{"b-c": 1}], "x": None}),
        ("$.a", [{"b-c": 1}]),
        ("$.a[0].b-c", 1),
        ("$['a'][0]['b-c']", 1),
        ('$["a"][-1]', {"b-c": 1}),
    ],
)
def test_a_path_leads_to_a_value(path: str, expected: Any) -> None:
    assert at_path({"a": [{"b-c": 1}], "x": None}, parse_path(path)) == expected


@pytest.mark.parametrize(
    "path", ["", "a", "$.", "$..a", "$.a[*]", "$.a[", "$a", "$.a.", "$[a]", "$.a b"]
)
def test_a_text_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        parse_path(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(JSON, st.lists(st.integers(-2, 2) | st.text(max_size=2), max_size=3))
def test_looking_up_a_path_never_fails(value: Any, steps: list[Any]) -> None:
    at_path(value, tuple(steps))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("url: 'https://{{ customer.host }}/x'", "the host must be written out"),
        ("url: 'https://a.example{{ customer.x }}'", "the host must be written out"),
        (
            "url: 'https://a.example/', body: {to: '{{ customer.'}",
            "body.to of gateway t: the template is incomplete",
        ),
        (
            "url: 'https://a.example/', body: {to: ['{{ event.x }}']}",
            "body.to[0] of gateway t: templates of gateways read customer, content and delivery, not event",
        ),
        ("url: 'https://a.example/', body: '{{ time.hour }}'", "not time"),
        (
            "url: 'https://a.example/', body: {to: '{{ contents.x }}'}",
            'there is no "contents" in templates [bad-value]\n  hint: did you mean "content"?',
        ),
        ("url: 'https://a.example/', headers: {'a b': x}", "a name has a sign"),
        (
            "url: 'https://a.example/', headers: {a: '{{ x }}'}",
            'headers.a of gateway t: there is no "x"',
        ),
        (
            "url: 'https://a.example/', format: form, body: {a: {b: c}}",
            "a form has names and texts",
        ),
        ("url: 'https://a.example/', format: form, body: 'a=b'", "a form has names and texts"),
        ("url: 'https://a.example/', format: text, body: {a: b}", "it must be one text"),
        (
            "url: 'https://a.example/', format: xml",
            "format of gateway t is none of its words [bad-value]",
        ),
        ("url: 'https://a.example/', method: GET, body: {}", "a GET has none"),
        (
            "url: 'https://a.example/', accepted: {id: sid}",
            "accepted.id of gateway t: it is no path [bad-value]\n  hint: write a path such as $.sid",
        ),
        ("url: 'https://a.example/', accepted: {where: {code: 1}}", "no path"),
        (
            "url: 'https://a.example/', accepted: {stauts: 200}",
            'accepted of gateway t cannot have the key "stauts" [unknown-key]\n  hint: did you mean "status"?',
        ),
        (
            "url: 'https://a.example/', accepted: {status: ok}",
            "status of accepted of gateway t: expected whole number",
        ),
        ("url: 'https://a.example/', accepted: {where: {$.a: {exist: true}}}", "exist"),
        ("url: 'https://a.example/', rejected: {reason: $.x}", "it has neither status nor where"),
        ("url: 'http://192.168.0.5/'", "it is a private address"),
        ("body: {}", 'needs the key "url"'),
    ],
)
def test_a_wrong_setting_is_named(config: str, said: str) -> None:
    with pytest.raises(GatewaySettingsError) as caught:
        parse_gateways("gateways.yaml", f"gateways: {{t: {{type: http, {config}}}}}", {})
    assert said in str(caught.value)
