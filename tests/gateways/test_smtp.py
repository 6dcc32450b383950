"""E-mail, against a real server."""

from __future__ import annotations

import asyncio
import email
import ssl
import subprocess
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from decision.gateways import (
    Accepted,
    GatewaySettingsError,
    Outgoing,
    Rejected,
    Result,
    Retry,
    Unknown,
    parse_gateways,
    smtp_connections,
)
from decision.gateways.mail import address_of, compose, flat, sender_of, text_of
from decision.gateways.opting_out import linked
from decision.gateways.protocol import Gateway
from decision.gateways.registry import Context
from decision.gateways.smtp import Smtp
from decision.gateways.smtp_connections import SmtpConfig
from decision.gateways.unsubscribe import UnsubscribeLinks
from tests.gateways.chaos import serving
from tests.gateways.mail_server import Handler, mail_server
from tests.gateways.outgoing import outgoing
from tests.ports import free_port

FROM = "from: 'Lantern Market <hi@example.com>'"
LINKS = "unsubscribe: {url: 'https://m.example.com/', secret: 'a secret of enough characters'}\n"
HTML = {
    "subject": "Grüße von 茶 & you",
    "html": "<p>Hello <b>Ann</b></p><a href='%unsubscribe_url%'>No more</a>",
}


def opened(
    port: int, more: str = "encryption: none", links: str = LINKS, host: str = "127.0.0.1"
) -> Gateway:
    written = f"{links}gateways: {{m: {{type: smtp, host: {host}, port: {port}, {FROM}, allow_private: true, {more}}}}}"
    return parse_gateways("gateways.yaml", written, {}).open("m")


def deliver(
    *given: Outgoing, more: str = "encryption: none", links: str = LINKS, **server: Any
) -> tuple[Result, Handler]:
    async def run() -> tuple[Result, Handler]:
        async with mail_server(**server) as handler:
            gateway = opened(handler.port, more, links)
            for one in given or (outgoing(content=HTML),):
                found = await gateway.send(one)
            await gateway.close()
            return found, handler

    return asyncio.run(run())


def lines_of(part: EmailMessage) -> str:
    return part.get_content().replace("\r\n", "\n")


# ------------------------------------------------------------------------- what is sent


def test_a_mail_has_html_and_text_and_a_link_to_opt_out_with_one_click() -> None:
    found, server = deliver()
    (envelope,) = server.envelopes
    mail = server.mail()
    assert isinstance(found, Accepted) and f"<{found.provider_id}>" == mail["message-id"]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("hi@example.com", ["ann@example.com"])
    assert mail["from"] == "Lantern Market <hi@example.com>" and mail["to"] == "ann@example.com"
    assert mail["subject"] == "Grüße von 茶 & you"
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    link = mail["list-unsubscribe"].strip("<>")
    assert link.startswith("https://m.example.com/v1/unsubscribe/")
    assert mail["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert link in html.get_content() and link in text.get_content()
    assert lines_of(text) == f"Hello Ann\n\nNo more ({link})\n"
    assert mail["date"].datetime.tzinfo is not None


def test_the_link_says_which_contact_it_is_about() -> None:
    _, server = deliver()
    links = parse_gateways("g", LINKS + "gateways: {}", {}).unsubscribe
    assert links is not None
    token = server.mail()["list-unsubscribe"].strip("<>").rpartition("/")[2]
    found = links.read(token)
    assert found is not None
    assert (found.customer_id, found.decision_id, found.message, found.channel, found.purpose) == (
        "c-1024", outgoing().decision_id, "hello", "push", "marketing",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "more", "links"),
    [
        ({"refusable": False}, "encryption: none", LINKS),
        ({}, "encryption: none, list_unsubscribe: false", LINKS),
        ({"content": {"text": "no link"}}, "encryption: none", ""),
    ],
)
def test_a_mail_without_a_button_of_mail_programs_has_no_dead_link(
    changed: Any, more: str, links: str
) -> None:
    found, server = deliver(outgoing(**{"content": HTML, **changed}), more=more, links=links)
    assert isinstance(found, Accepted)
    mail = str(server.mail())
    assert (
        "list-unsubscribe" not in server.mail() and "%unsub" not in mail and "href=''" not in mail
    )
    if links:
        _, html = server.mail().iter_parts()
        assert "https://m.example.com/v1/unsubscribe/" in html.get_content()


def test_a_text_alone_is_a_plain_mail() -> None:
    _, server = deliver(outgoing(content={"title": "Hi", "body": ".\n..\nx" + "é" * 2000}))
    assert server.mail().get_content_type() == "text/plain" and server.mail()["subject"] == "Hi"
    assert lines_of(server.mail()) == ".\n..\nx" + "é" * 2000 + "\n"


WORDS = st.characters(exclude_categories=["Cs"])
LONG = ["x" * 256, "客" * 256, "\U0001f375" * 256, "".join(map(chr, range(0x20000, 0x2E000, 224)))]


@given(
    customer=st.sampled_from(LONG) | st.text(WORDS, min_size=1, max_size=256),
    names=st.sampled_from([*LONG, "news"]) | st.text(WORDS, min_size=1, max_size=128),
    language=st.none() | st.sampled_from(["zh-Hant-TW", "x" * 5000]),
    host=st.sampled_from(["m.example.com", "m.example.com/" + "path/" * 30]),
)
def test_no_id_or_name_makes_a_line_too_long_or_the_link_another(
    customer: str, names: str, language: str | None, host: str
) -> None:
    links = UnsubscribeLinks(f"https://{host}", ["a secret of enough characters"])
    one = outgoing(
        customer_id=customer, message=names[:128], channel=names[:128], purpose=names[:128],
        language=language, refusable=True,
    )  # fmt: skip
    with_link = linked(msgspec.structs.replace(one, content=HTML), links)
    link = with_link.unsubscribe_url
    sender = address_of("hi@example.com")
    mail = compose(with_link.content, sender=sender, to=sender, at=0, key=one.key)
    raw = flat(mail, utf8=False, link=link)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    found = message_from_bytes(raw)
    # RFC 2369: blanks inside the brackets are ignored.
    written = "".join(str(found["List-Unsubscribe"]).strip("<>").split())
    assert written == link and mail["Bcc"] is None
    read = links.read(written.rpartition("/")[2])
    assert read is not None
    assert (read.customer_id, read.message, read.purpose) == (customer, names[:128], names[:128])


@pytest.mark.parametrize("customer", LONG)
def test_the_longest_customer_id_leaves_the_link_in_one_line(customer: str) -> None:
    found, server = deliver(outgoing(content=HTML, customer_id=customer, language="zh-Hant-TW"))
    assert isinstance(found, Accepted)
    raw = server.envelopes[0].original_content
    assert isinstance(raw, bytes)
    (line,) = [row for row in raw.split(b"\r\n") if row.startswith(b"List-Unsubscribe:")]
    assert line.endswith(b">") and len(line) <= 998
    links = parse_gateways("g", LINKS + "gateways: {}", {}).unsubscribe
    assert links is not None
    read = links.read(line.decode().strip("<>").rpartition("/")[2])
    assert read is not None and read.customer_id == customer


def test_addresses_in_other_scripts_arrive() -> None:
    for address, expected in (
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("änne@example.com", "änne@example.com"),
        ("a..b@docomo.example", "a..b@docomo.example"),
    ):
        found, server = deliver(outgoing(content=HTML, aliases={"email": [address]}))
        assert isinstance(found, Accepted) and server.envelopes[0].rcpt_tos == [expected]
        assert server.mail()["to"].replace('"', "") == expected


def test_an_address_that_the_server_cannot_take_is_rejected() -> None:
    one = outgoing(content=HTML, aliases={"email": ["änne@example.com"]})
    found, server = deliver(one, utf8=False)
    assert isinstance(found, Rejected) and "SMTPUTF8" in found.reason and not server.envelopes


def test_the_recipient_and_further_headers_are_templates() -> None:
    more = "encryption: none, to: '{{ customer.work_email }}', headers: {X-Tag: '{{ delivery.message }} {{ customer.first_name }}'}"
    one = outgoing(
        content=HTML,
        attributes={"work_email": "a@b.example", "first_name": "An\r\nBcc: x@y.example"},
    )
    _, server = deliver(one, more=more)
    assert (
        server.mail()["to"] == "a@b.example"
        and server.mail()["x-tag"] == "hello An Bcc: x@y.example"
    )
    assert "bcc" not in server.mail() and server.envelopes[0].rcpt_tos == ["a@b.example"]


@pytest.mark.parametrize(
    "address",
    [
        "", "   ", "ann", "ann@", "@example.com", "a@b.example, c@d.example", "a@b.example;c@d.example",
        "a@b.example\r\nBcc: c@d.example", "a@b.example\nx", "<a@b.example> c@d.example", "a b@c.example",
        "a@b.example RCPT TO:<x@y.example>", "a@b@c.example", "a@[127.0.0.1]", "a@b(comment)", "x" * 300 + "@b.example",
        "a@" + "ü" * 70 + ".example", "a>b@c.example", "\x00a@b.example",
    ],
)  # fmt: skip
def test_what_is_not_one_address_is_rejected_before_anything_is_said(address: str) -> None:
    found, server = deliver(outgoing(content=HTML, aliases={}, attributes={"email": address}))
    assert isinstance(found, Rejected) and server.connections == 0


@pytest.mark.parametrize("content", [{}, {"subject": "x"}, {"html": " ", "text": ""}, {"html": 5}])
def test_a_mail_without_anything_to_say_is_rejected(content: Any) -> None:
    found, server = deliver(outgoing(content=content))
    assert isinstance(found, Rejected) and server.connections == 0


ANY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80)


@given(ANY, ANY, ANY)
def test_no_value_makes_a_header_or_leaves_its_place(subject: str, text: str, extra: str) -> None:
    mail = compose(
        {"subject": subject, "text": text + "x"},
        sender=sender_of("Lantern <hi@example.com>"),
        to=address_of("ann@example.com"),
        at=0,
        key="01J.hello",
        headers={"X-Tag": extra},
    )
    for utf8 in (False, True):
        data = flat(mail, utf8=utf8, link="https://m.example/t")
        found = email.message_from_bytes(data, policy=SMTPUTF8)
        assert sorted(name.lower() for name in found) == sorted(
            ["from", "to", "subject", "date", "message-id", "x-tag", "mime-version", "content-type",
             "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post"]
        )  # fmt: skip
        assert found["to"] == "ann@example.com"


@example("<![;")
@example("<![x[")
@example("<!x[<")
@given(st.text(alphabet="<>/ab&;\n lip='\"!-[]", max_size=60))
def test_any_html_becomes_some_text(html: str) -> None:
    assert text_of(html).endswith("\n")


def test_text_is_what_a_reader_sees() -> None:
    html = """<html><head><title>T</title><style>x</style></head><body><h1>Sale</h1>
    <p>One   &amp; two</p><ul><li>a<li><a href="https://x.example">b</a></ul><script>z</script><td>end</body>"""
    assert text_of(html) == ("Sale\n\nOne & two\n\n- a\n- b (https://x.example)\nend\n")


# ------------------------------------------------------------------- what an answer means


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_a_permanent_refusal_is_one(command: str) -> None:
    found, _ = deliver(**{command: "550 5.1.1 <ann@example.com> no such user"})
    assert isinstance(found, Rejected) and "550 5.1.1" in found.reason
    assert "ann@example.com" not in found.reason


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    "code", ["421 busy", "450 later", "451 later", "452 full", "530 log in first"]
)
def test_a_refusal_for_now_is_tried_again(command: str, code: str) -> None:
    found, _ = deliver(**{command: code})
    assert isinstance(found, Retry) and code[:3] in found.reason


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize("what", ["drop", "hang"])
def test_what_is_lost_before_the_mail_was_handed_over_is_tried_again(
    command: str, what: str
) -> None:
    assert isinstance(deliver(more="encryption: none, timeout: 1s", **{command: what})[0], Retry)


@pytest.mark.parametrize("what", ["drop", "hang"])
def test_what_is_lost_after_the_mail_was_handed_over_is_an_unknown_outcome(what: str) -> None:
    found, server = deliver(more="encryption: none, timeout: 1s", DATA=what)
    assert isinstance(found, Unknown) and len(server.envelopes) == 1


def test_a_server_that_is_not_there_or_hangs_or_speaks_no_smtp_is_tried_again() -> None:
    async def run() -> None:
        gateway = opened(free_port())
        assert isinstance(await gateway.send(outgoing(content=HTML)), Retry)

        async def greet(text: bytes) -> Result:
            async def serve(reader: Any, writer: Any) -> None:
                writer.write(text)
                await writer.drain()
                await reader.read()
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                other = opened(port, "encryption: none, timeout: 1s")
                return await other.send(outgoing(content=HTML))

        for text in (b"", b"554 5.7.1 not you\r\n", b"HTTP/1.1 400 Bad\r\n\r\n", b"\xff\xfe\r\n"):
            assert isinstance(await greet(text), Retry), text

    asyncio.run(run())


def test_mails_share_a_connection_also_after_a_refusal() -> None:
    given = [outgoing(content=HTML)] * 4
    found, server = deliver(*given, RCPT=[None, "550 no", None, None])
    assert isinstance(found, Accepted) and (server.connections, len(server.envelopes)) == (1, 3)


def test_a_connection_that_the_server_has_closed_meanwhile_is_made_again() -> None:
    given = [outgoing(content=HTML)] * 2
    found, server = deliver(*given, MAIL=[None, "drop", None])
    assert isinstance(found, Accepted) and (server.connections, len(server.envelopes)) == (2, 2)


def test_mails_at_once_have_connections_of_their_own() -> None:
    async def run() -> None:
        async with mail_server() as server:
            gateway = opened(server.port)
            found = await asyncio.gather(*(gateway.send(outgoing(content=HTML)) for _ in range(6)))
            assert all(isinstance(one, Accepted) for one in found) and len(server.envelopes) == 6
            await gateway.close()

    asyncio.run(run())


def test_a_forbidden_host_is_not_connected_to() -> None:
    async def run() -> None:
        async with serving(b"", host="127.0.0.9") as server:
            config = SmtpConfig(
                host="127.0.0.9",  # as a name that is resolved to it
                port=server.port,
                sender="hi@example.com",
                allow_private=["127.0.0.1"],
            )
            gateway = Smtp(config, Context(name="m"))
            found = await gateway.send(outgoing(content=HTML))
            assert isinstance(found, Retry) and "a private address" in found.reason
            assert server.connections == 0

    asyncio.run(run())


# ----------------------------------------------------------------------- TLS and logins

Certificate = Callable[[str], ssl.SSLContext]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A server's context with a certificate of its own for a name, and clients that trust it."""

    def made(name: str) -> ssl.SSLContext:
        folder = tmp_path_factory.mktemp("tls")
        key, cert = folder / "key.pem", folder / "cert.pem"
        command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {key} -out {cert} -subj /CN=x -addext subjectAltName={name}"
        subprocess.run(command.split(), check=True, capture_output=True)
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(cert, key)
        server.cert_file = cert  # type: ignore[attr-defined]
        return server

    return made


def trusting(monkeypatch: pytest.MonkeyPatch, server: ssl.SSLContext) -> None:
    context = ssl.create_default_context(cafile=Path(server.cert_file))  # type: ignore[attr-defined]
    monkeypatch.setattr(smtp_connections, "tls_context", lambda: context)


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_the_login_goes_over_tls(
    monkeypatch: pytest.MonkeyPatch, certificate: Certificate, encryption: str
) -> None:
    tls = certificate("IP:127.0.0.1")
    trusting(monkeypatch, tls)
    more = f"encryption: {encryption}, user: ann, password: right"
    found, server = deliver(more=more, tls=tls, implicit=encryption == "tls")
    assert isinstance(found, Accepted) and server.logins == [(b"ann", b"right")]


def test_a_wrong_password_is_tried_again_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    tls = certificate("IP:127.0.0.1")
    trusting(monkeypatch, tls)
    found, server = deliver(more="encryption: starttls, user: ann, password: wr0ngpass", tls=tls)
    assert isinstance(found, Retry) and "535" in found.reason and "wr0ngpass" not in found.reason
    assert found.refused
    assert not server.envelopes


def test_nothing_is_sent_to_a_server_that_cannot_encrypt_or_is_another(
    monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    found, server = deliver(more="encryption: starttls")
    assert isinstance(found, Retry) and not server.envelopes
    tls = certificate("DNS:other.example")
    trusting(monkeypatch, tls)
    for encryption in ("starttls", "tls"):
        found, server = deliver(
            more=f"encryption: {encryption}", tls=tls, implicit=encryption == "tls"
        )
        assert isinstance(found, Retry) and not server.envelopes


# --------------------------------------------------------------------------- its settings


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("host: h, from: 'no address'", "from of gateway m: it is not one address"),
        ("host: h, from: 'a@b.example, c@d.example'", "it is not one address"),
        (f"host: 'h/x', {FROM}", "it must be the name of a server"),
        (
            f"host: h, {FROM}, user: u",
            "user and password come together [bad-value]\n  hint: add password",
        ),
        (
            f"host: h, {FROM}, user: u, password: p, encryption: none",
            "the password would be sent unencrypted",
        ),
        (f"host: h, {FROM}, encryption: ssl", "none of its words"),
        (f"host: h, {FROM}, port: 0", "port of gateway m: expected whole number >= 1"),
        (f"host: h, {FROM}, to: '{{{{ event.x }}}}'", "not event"),
        (f"host: h, {FROM}, headers: {{Bcc: x, 'a b': c}}", "a header that cannot be set here"),
        (f"host: h, {FROM}, headers: {{Subject: x}}", "a header that cannot be set here"),
        (f"host: h, {FROM}, headers: {{List-Unsubscribe: x}}", "a header that cannot be set here"),
        (f"host: h, {FROM}, reply_to: x", "reply_to of gateway m"),
        ("host: h", 'gateway m needs the key "from"'),
        (FROM, 'gateway m needs the key "host"'),
    ],
)
def test_a_wrong_setting_is_named(config: str, said: str) -> None:
    with pytest.raises(GatewaySettingsError) as caught:
        parse_gateways("gateways.yaml", f"gateways: {{m: {{type: smtp, {config}}}}}", {})
    assert said in str(caught.value)
