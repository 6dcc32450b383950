"""What the tests of the command line share: a way to run it, and a small policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from decision.cli.app import cli

RULES = """\
settings: {timezone: Asia/Shanghai, currency: CNY}
purposes: {marketing: {consent: opt_in}, service: {consent: not_required}}
channels:
  in_app: {}
  email: {cost: 0.005}
placements:
  app_home: {channels: [in_app], fallback: hello}
  outbound: {channels: [email]}
messages:
  hello:
    purpose: service
    channels: [in_app]
    value: 0
    content: {text: "Hello {{ customer.first_name | default('you') }}"}
  news:
    purpose: marketing
    tags: [fresh]
    channels: [email, in_app]
    value: 5
    content: {title: 新茶到店}
  coupon:
    purpose: marketing
    channels: [email, in_app]
    value: 4
    when: {events.purchase.count_7d: 0}
    content: {title: Ten percent off}
caps:
  twice: {of: {purpose: marketing}, per: message, at_most: 2, within: 7d}
rules:
  fresh-first: {when: {customer.country: CN}, boost: {tags: [fresh]}, by: 1.2}
"""

SCENARIO = """\
- name: somebody unknown is greeted
  now: 2026-11-21T10:00:00+08:00
  ask: {placement: app_home}
  expect: {outcome: fallback, message: hello}
- name: who bought gets no coupon
  now: 2026-11-21T10:00:00+08:00
  customer:
    consents: {marketing: {"*": granted}}
    events: [{type: purchase, at: 2026-11-20T10:00:00+08:00}]
  ask: {placement: outbound}
  expect: {outcome: selected, message: news, reasons: {coupon/email: not_eligible}}
"""

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own for each test, and no settings from outside."""
    import os

    for name in [name for name in os.environ if name.startswith("NEXTBEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A small policy with two scenarios."""
    folder = tmp_path / "rules"
    (folder / "tests").mkdir(parents=True)
    (folder / "all.yaml").write_text(RULES, "utf-8")
    (folder / "tests" / "all.yaml").write_text(SCENARIO, "utf-8")
    return folder


@pytest.fixture
def run() -> Run:
    """Runs the command in this process, as a shell would."""

    def call(*args: object, stdin: bytes | str | None = None) -> Result:
        result = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        assert "Traceback" not in result.output
        return result

    return call
