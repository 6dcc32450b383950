"""`nextbest consume` says what is missing before it begins, and never a secret."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

GIVEN = ("consume", "--brokers", "127.0.0.1:1", "--topics", "shop")


def test_a_login_that_is_not_in_the_environment_is_told(
    run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTBEST_KAFKA_PASSWORD", "secret-4711")
    result = run(*GIVEN, "--rules", rules, "--security", "sasl_ssl")
    assert result.exit_code == 2
    assert "NEXTBEST_KAFKA_USER must be set" in " ".join(result.output.replace("│", " ").split())
    assert "4711" not in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--brokers", "kafka"), "no host:port"),
        (("--topics", ","), "name a broker and a topic"),
        (("--security", "ssl", "--ca-file", "none.pem"), "none.pem"),
        (("--security", "tls"), "tls"),
        (("--sasl", "gssapi"), "gssapi"),
    ],
)
def test_an_option_that_cannot_be_used_is_told(
    run: Run, rules: Path, options: tuple[str, ...], words: str
) -> None:
    result = run(*GIVEN, "--rules", rules, *options)
    assert result.exit_code == 2
    assert words in result.output


def test_without_its_package_it_says_how_to_install_it(
    run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    result = run(*GIVEN, "--rules", rules)
    assert result.exit_code == 1
    assert "nextbest consume needs aiokafka; install what is missing with: " in result.output
    assert "aiokafka[" in result.output
