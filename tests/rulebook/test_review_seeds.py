"""Whatever deals customers by a seed has a seed of its own: experiments and splits of journeys."""

from __future__ import annotations

from decision.rulebook.reader import load_files

RULES = """\
purposes: {marketing: {consent: opt_out}}
channels: {push: {}}
placements: {crm: {channels: [push], delivery: gateway}}
messages: {hello: {purpose: marketing, channels: [push], value: 1, content: {title: x}}}
experiments: {hold: {share: 2%, seed: one}}
journeys:
  a:
    start: {event: go}
    steps:
      first: {split: {seed: one, variants: {l: 50%, r: 50%}}, go: {l: hi, r: done}}
      hi: {ask: crm}
      done: {end: finished}
  b:
    start: {event: go}
    steps:
      first: {split: {seed: two, variants: {l: 50%, r: 50%}}, go: {l: then, r: done}}
      then: {split: {seed: two, variants: {l: 50%, r: 50%}}, go: {l: hi, r: done}}
      hi: {ask: crm}
      done: {end: finished}
"""


def test_a_split_with_the_seed_of_an_experiment_or_another_split_is_told() -> None:
    found = [one for one in load_files({"a.yaml": RULES}).diagnostics if one.code == "shared-seed"]
    assert [(one.line, one.message.split(" (")[0]) for one in found] == [
        (10, 'step "first" of journey "a" has the seed of "hold"'),
        (17, 'step "then" of journey "b" has the seed of step "first" of journey "b"'),
    ]
    apart = RULES.replace("first: {split: {seed: one", "first: {split: {seed: three", 1)
    apart = apart.replace("then: {split: {seed: two", "then: {split: {seed: four")
    assert not load_files({"a.yaml": apart}).diagnostics
