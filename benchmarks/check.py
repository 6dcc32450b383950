"""Checking rules: time to read and check a large policy, against what ruamel.yaml alone takes.

    python -m benchmarks.check

The policy has a thousand messages and a thousand rules in files of fifty. *ruamel.yaml* loads the
same files as plain data with its pure Python loader, the one that knows places; *check* is all of
`rulebook.reader.load_files`: reading, checking, and the review of what can never matter. Times are
of this process's CPU; the best of five rounds that take turns.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence

from ruamel.yaml import YAML

from decision.rulebook.reader import load_files

ROUNDS = 5
PER_FILE = 50
CHANNELS = ("in_app", "push", "sms", "email")
PLACEMENTS = ("app_home", "checkout", "outbound")
CITIES = ("Shanghai", "Beijing", "Hangzhou", "Chengdu", "Guangzhou", "Shenzhen")
EVENTS = ("purchase", "page_view", "cart_add", "search", "app_open")

COMMON = """\
purposes:
  marketing: {consent: opt_in}
  tips: {consent: opt_out}
  service: {consent: not_required}
channels:
  in_app: {reservation: {expires_after: 30m, then: release}}
  push: {cost: 0.01, quiet_hours: {from: "22:00", to: "08:00", except: [service]}}
  sms: {cost: 0.05}
  email: {cost: 0.002}
placements:
  app_home: {channels: [in_app]}
  checkout: {channels: [in_app], threshold: 0.05}
  outbound: {channels: [push, sms, email]}
states:
  power: {when: {events.app_open.active_days_28d: {gte: 20}}}
  casual: {when: {events.app_open.active_days_28d: {gte: 2}}}
  low: {}
experiments:
  copy-test: {seed: copy-1, variants: {control: 50%, short: 50%}}
"""


def condition(rng: random.Random, indent: str) -> str:
    """Two to four comparisons, now and then with alternatives."""
    count = rng.randint(1, 3)
    lines = rng.sample(
        [
            f"customer.city: {rng.choice(CITIES)}",
            f"customer.lifetime_spend: {{gte: {rng.randrange(100, 10_000)}}}",
            f"events.{rng.choice(EVENTS)}.count_{rng.randint(1, 60)}d: {{gte: {rng.randint(1, 9)}}}",
            f"events.{rng.choice(EVENTS)}.days_since: {{gt: {rng.randint(1, 20)}, lt: 90}}",
            f"customer.state: {{in: [low, {rng.choice(('casual', 'power'))}]}}",
            f"context.device: {rng.choice(('ios', 'android', 'web'))}",
            f"time.hour: {{gte: {rng.randint(8, 12)}, lt: {rng.randint(15, 21)}}}",
            f"customer.attribute_{rng.randrange(40)}: {rng.choice(('yes', 'no', 'some'))}",
        ],
        count,
    )
    if rng.random() < 0.2:
        lines.append("any:")
        lines += [
            f"  - events.purchase.count: {rng.randint(0, 3)}",
            f"  - customer.orders: {{gte: {rng.randint(4, 30)}}}",
        ]
    return "".join(f"{indent}{line}\n" for line in lines)


def message(number: int, rng: random.Random) -> str:
    """A message as people write them."""
    channels = rng.sample(CHANNELS, rng.randint(1, 3))
    return (
        f"  message-{number}:\n"
        f"    purpose: {rng.choice(('marketing', 'tips'))}\n"
        f"    category: category-{rng.randrange(20)}\n"
        f"    tags: [tag-{rng.randrange(30)}, tag-{rng.randrange(30, 60)}]\n"
        f"    channels: [{', '.join(channels)}]\n"
        f"    value: {rng.randint(1, 50)}\n"
        f"    when:\n{condition(rng, '      ')}"
        f"    goal: {{event: purchase, within: {rng.randint(1, 30)}d}}\n"
        f"    content:\n"
        f"      title: \"Hello {{{{ customer.first_name | default('there') }}}}\"\n"
        f"      body: A text of some length, as a message has, number {number}.\n"
    )


def rule(number: int, rng: random.Random) -> str:
    """A rule that excludes, boosts or sets."""
    action = rng.choice(
        (
            f"    exclude: {{tags: tag-{rng.randrange(60)}}}\n",
            f"    exclude: {{category: category-{rng.randrange(20)}, channel: email}}\n",
            f'    exclude: {{messages: ["message-{rng.randrange(1, 100)}*"]}}\n',
            f"    boost: {{tags: tag-{rng.randrange(60)}}}\n    by: 1.{rng.randint(1, 9)}\n",
            f"    set: {{customer.derived_{rng.randrange(40)}: high}}\n",
        )
    )
    return f"  rule-{number}:\n    when:\n{condition(rng, '      ')}{action}"


def make_policy(messages: int = 1_000, rules: int = 1_000, seed: int = 7) -> dict[str, str]:
    """File name → text of a policy of that size."""
    rng = random.Random(seed)
    files = {"common.yaml": COMMON}
    for section, count, make in (("messages", messages, message), ("rules", rules, rule)):
        for start in range(0, count, PER_FILE):
            body = "".join(make(at, rng) for at in range(start, min(count, start + PER_FILE)))
            files[f"{section}-{start:05}.yaml"] = f"{section}:\n{body}"
    return files


def best_of(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of CPU that each way takes, the least of several rounds."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - began)
    return best


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the two times and their ratio."""
    parser = argparse.ArgumentParser(prog="benchmarks.check", description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args(arguments)
    files = make_policy(chosen.messages, chosen.rules)
    result = load_files(files)
    if result.definition is None:
        raise SystemExit(f"the policy made for this cannot be used: {result.errors[0].render()}")
    seconds = best_of(
        {
            "ruamel.yaml": lambda: [
                YAML(typ="safe", pure=True).load(one) for one in files.values()
            ],
            "check": lambda: load_files(files),
        },
        chosen.rounds,
    )
    lines = sum(text.count("\n") for text in files.values())
    print(
        f"{chosen.messages:,} messages, {chosen.rules:,} rules, {lines:,} lines, "
        f"{len(result.warnings):,} warnings"
    )
    for name, taken in seconds.items():
        print(f"{name:12} {taken:8.2f} s of CPU")
    print(f"{'ratio':12} {seconds['check'] / seconds['ruamel.yaml']:8.2f}")


if __name__ == "__main__":
    main()
