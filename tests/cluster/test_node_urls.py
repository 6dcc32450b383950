"""URLs of several servers: what they say, and what is wrong with them."""

from __future__ import annotations

import pytest

from decision.core.errors import StoreUnavailable
from decision.redaction import redacted
from decision.store.node_urls import parse_nodes_url


def test_a_url_of_one_server_is_left_to_others() -> None:
    for url in ("redis://a:1", "unix:///a", "rediss://a", "http://a"):
        assert parse_nodes_url(url) is None


def test_each_part_is_read() -> None:
    found = parse_nodes_url("redis+cluster://app:p%40ss@a:7000,[::1],b?client_name=x")
    assert found is not None and found.kind == "cluster" and found.address.ssl is None
    assert found.places == (("a", 7000), ("::1", 6379), ("b", 6379))
    assert found.address.at("::1", 6379).where == "[::1]:6379"
    options = found.address.at("b", 5).options
    assert (options["username"], options["password"], options["port"]) == ("app", "p@ss", 5)

    url = "rediss+sentinel://:pw@a,b:5/my.name/3?sentinel_password=x%26y&ssl_cert_reqs=none"
    found = parse_nodes_url(url)
    assert found is not None and found.kind == "sentinel" and found.name == "my.name"
    assert found.places == (("a", 26379), ("b", 5)) and found.address.ssl is not None
    assert found.sentinel_login == {"password": "x&y"}
    assert (found.address.options["db"], found.address.options["password"]) == (3, "pw")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://", "host 1 of its list is empty"),
        ("redis+cluster://a,,b", "host 2 of its list is empty"),
        ("redis+sentinel://a,b,/main", "host 3 of its list is empty"),
        ("redis+cluster://a:70000", "host 1 of its list cannot be read"),
        ("redis+cluster://a:1, b:1", "host 2 of its list cannot be read"),
        ("redis+cluster://a,::1", "or [::1]:port"),
        ("redis+cluster://a:0", "host 1 of its list cannot be read"),
        ("redis+cluster://u:secret:1@a:b", "host 1 of its list cannot be read"),
        ("redis+cluster://u:sec/ret@a:1,b:1", "in a user, a password or an option as %40"),
        ("redis+cluster://a/3", "database 0 alone"),
        ("redis+cluster://a?db=3", "database 0 alone"),
        ("redis+cluster://a?ssl_ca_certs=x", "only rediss:// has it"),
        ("redis+cluster://a?sentinel_password=secret", "not known"),
        ("redis+sentinel://a", "lacks the name"),
        ("redis+sentinel://a/?db=1", "lacks the name"),
        ("redis+sentinel://a/main/x", "number of a database"),
        ("redis+sentinel://u:sec@ret@a/main@secret", "is not the name"),
    ],
)
def test_what_is_wrong_is_said_without_the_url(url: str, said: str) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        parse_nodes_url(url)
    text = str(raised.value)
    assert said in text and "redis+sentinel://host:26379" in text and "secret" not in text


def test_a_log_shows_no_login() -> None:
    assert redacted("redis+cluster://app:pw@a:1,b:2/0") == "redis+cluster://***@a:1,b:2/0"
    shown = redacted("redis+sentinel://:pw@a,b/main?sentinel_password=x&db=1")
    assert shown == "redis+sentinel://***@a,b/main?sentinel_password=***&db=1"
