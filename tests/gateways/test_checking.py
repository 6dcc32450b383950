"""What can be known of a gateways file is said, also before its variables are set."""

from __future__ import annotations

from pathlib import Path

import pytest

from decision.gateways import GatewaySettingsError, parse_gateways
from decision.gateways.checking import check_gateways
from decision.gateways.registry import gateway_types, load_type

WEBHOOK = "type: webhook, url: 'https://a.example/', secret: '${SECRET}'"
SMTP = "type: smtp, from: a@b.example, password: '${SECRET}', user: u"
HTTP = "type: http, headers: {Authorization: 'Bearer ${SECRET}'}"

WRONG = {
    f"{SMTP}, host: 127.0.0.1": ": error: host of gateway g: it is a private address",
    f"{SMTP}, host: localhost": "host of gateway g: it is a private address",
    f"{SMTP}, host: mail.localhost.": "it is a private address",
    f"{SMTP}, host: '2130706433'": "it is a private address",
    f"{SMTP}, host: '0x7f.1'": "add allow_private: true",
    f"{SMTP}, host: '::1'": "it is a private address",
    f"{SMTP}, host: 'fe80::1%eth0'": "it is a private address",
    f"{SMTP}, host: 10.2.3.4, allow_private: [10.1.0.0/16]": "its network to allow_private",
    f"{SMTP}, host: 224.0.0.1, allow_private: true": "one cannot send to this address",
    f"{SMTP}, host: 'smtp.example.com:587'": "write host: smtp.example.com, port: 587",
    f"{SMTP}, host: '[::1]'": "it must be the name of a server",
    f"{SMTP}, host: h, encryption: none": "the password would be sent unencrypted",
    f"{SMTP}, host: h, port: 70000": "port of gateway g: expected whole number <= 65535",
    f"{SMTP}, host: h, to: '{{{{ customer.'": "to of gateway g: the template is incomplete",
    f"{SMTP}, host: h, headers: {{X-A: '${{T}}', X-B: '{{{{ x }}}}'}}": "headers.X-B of gateway g",
    f"{HTTP}, url: 'http://10.1.2.3/'": "url of gateway g: it is a private address",
    f"{HTTP}, url: 'http://0x0a.0.0.1/{{{{ customer.id }}}}'": "it is a private address",
    f"{HTTP}, url: 'http://localhost:8080/'": "it is a private address",
    f"{HTTP}, url: 'https://a.example/', body: {{a: '${{T}}', b: '{{{{ x }}}}'}}": "body.b of",
    f"{HTTP}, url: 'https://a.example/', accepted: {{status: '${{T}}', id: sid}}": "is no path",
    f"{HTTP}, url: 'http://127.0.0.1:9/${{NOPE}}'": "url of gateway g: it is a private address",
    f"{HTTP}, url: 'http://10.0.0.1?key=${{NOPE}}'": "url of gateway g: it is a private address",
    f"{HTTP}, url: 'ftp://x.example/${{NOPE}}'": "it must begin with https:// or http://",
    f"{HTTP}, url: 'ftp://${{NOPE}}/x'": "it must begin with https:// or http://",
    "type: wechat, app_id: '${SECRET}', secret: ' '": "secret of gateway g: it must not be empty",
    "type: wechat, app_id: a, secret: '${SECRET}', base_url: 'http://127.0.0.1'": "base_url of",
    f"{WEBHOOK}, headers: {{Host: x}}": "headers.Host of gateway g: it is made by HTTP itself",
    f"{WEBHOOK}, timeout: 10": "timeout of gateway g: write a time such as 30s",
    f"{WEBHOOK}, allow_private: ['${{NET}}', ten]": "allow_private[1] of gateway g",
    f"{WEBHOOK}, reports: {{from: twilio, secret: '${{T}}'}}": "url of reports of gateway g",
    f"{WEBHOOK}, reports: {{from: mailgun, secret: ['${{T}}', short]}}": "secret[1] of reports",
    "type: file, path: '${SECRET}', pause: {bounces: 10}": "bounces of pause of gateway g: write a",
}


def said(written: str, tmp_path: Path, **environ: str) -> list[str]:
    path = tmp_path / "gateways.yaml"
    path.write_text(written)
    return [
        f"{one.line}:{one.column}: {one.severity}: {one.message} {one.hint}"
        for one in check_gateways(str(path), None, environ)
    ]


@pytest.mark.parametrize("gateway", WRONG)
def test_what_is_wrong_is_said_though_a_variable_is_not_set(gateway: str, tmp_path: Path) -> None:
    found = said(f"gateways: {{g: {{{gateway}}}}}", tmp_path)
    errors = [one for one in found if ": error: " in one]
    assert len(errors) == 1 and WRONG[gateway] in errors[0], found
    assert any("SECRET is not set" in one for one in found)


@pytest.mark.parametrize(
    "gateway",
    [
        "type: webhook, url: '${URL}', secret: ['${A}', '${B}'], allow_private: ['${NET}']",
        "type: webhook, url: 'https://${HOST}:${PORT}/', secret: '${A}', timeout: '${T}'",
        "type: smtp, host: '${HOST}', port: '${PORT}', from: '${FROM}', encryption: '${E}'",
        "type: smtp, host: h, from: 'Us <${FROM}>', user: '${U}', password: '${P}', to: '{{ customer.${KEY} }}'",
        "type: http, url: 'https://a.example/${A}', headers: {X: '${X}'}, body: {a: ['${A}']}, concurrency: '${C}'",
        "type: http, url: 'https://a.example/', accepted: {status: '${S}', where: {'$.a': '${A}'}, id: '${I}'}",
        "type: wechat, app_id: '${A}', secret: '${B}', base_url: '${C}'",
        "type: file, path: '${A}', pause: {bounces: '${B}', least: '${C}'}",
        "type: file, path: x, reports: {from: ses, topic: '${A}', configuration_set: '${B}'}",
        "type: file, path: x, reports: {from: '${A}', secret: '${B}'}",
    ],
)
def test_nothing_is_said_of_a_value_that_nobody_knows_yet(gateway: str, tmp_path: Path) -> None:
    found = said(f"gateways: {{g: {{{gateway}}}}}", tmp_path)
    assert found and all("warning: the environment variable" in one for one in found), found


def test_everything_wrong_with_a_gateway_is_said_at_once(tmp_path: Path) -> None:
    found = said(
        "unsubscribe: {url: a.example, secret: '${S}'}\n"
        "gateways:\n  g: {type: smtp, host: 10.0.0.1, from: no, user: u, to: '{{ x }}', timeout: 3s}\n",
        tmp_path,
    )
    keys = [one.split(": ")[2].split(" of ")[0] for one in found if " error: " in one]
    assert keys == ["url", "password", "host", "from", "to"]


def test_settings_that_are_checked_without_a_variable_are_never_used() -> None:
    with pytest.raises(GatewaySettingsError, match="SECRET is not set"):
        parse_gateways("g.yaml", f"gateways: {{g: {{{WEBHOOK}}}}}", {})


def test_a_type_says_all_that_is_wrong_with_its_config() -> None:
    kind = load_type(gateway_types()["webhook"])
    config = kind.config(url="http://10.0.0.1/", secret="x", headers={"host": "x"})  # type: ignore[call-arg]
    assert [path for path, _, _ in kind.check(config)] == ["url", "headers.host", "secret"]


@pytest.mark.parametrize(
    ("http", "fine"),
    [
        ("url: 'https://a.example/in'", False),
        ("url: 'https://a.example/in', body: {to: all, n: [1, x]}", False),
        ("url: 'https://a.example/in', headers: {X-A: b}, method: GET", False),
        ("url: 'https://a.example/{{ customer.id }}'", True),
        ("url: 'https://a.example/in', headers: {X-A: '{{ delivery.id }}'}", True),
        ("url: 'https://a.example/in', body: {n: ['{{ content.text }}']}", True),
    ],
)
def test_what_delivers_a_channel_says_something_of_the_message(http: str, fine: bool) -> None:
    """One that is set up for audiences would send a channel's messages as empty requests."""
    text = f"gateways:\n  a: {{type: http, {http}}}\nchannels:\n  push: a\n"
    if fine:
        parse_gateways("g.yaml", text, {})
        return
    with pytest.raises(GatewaySettingsError) as caught:
        parse_gateways("g.yaml", text, {})
    assert "g.yaml:4:9: error: a says nothing of what it is to send" in str(caught.value)
