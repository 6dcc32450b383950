"""What the engine says is in the reader's language: templates are translated, values stay."""

from __future__ import annotations

import ast
import json
import pickle
from itertools import product
from pathlib import Path

import pytest

import decision
from decision.console.engine_words import KNOWN
from decision.console.language import language
from decision.core.clock import DAY, HOUR
from decision.core.condition_words import clause_in_words, failures
from decision.core.conditions import All, AnyOf, Clause, FieldOperand, Not
from decision.core.definition import Cap, FieldLimit, Selector
from decision.core.journeys.definition import Ask, Split, Wait, WaitUntil
from decision.core.journeys.words import condition_words, step_words
from decision.core.said import Counted, Joined, Said, lasting, packed, unpacked
from decision.core.values import MISSING
from decision.engine.message_views import cap_words
from decision.learning.left_out import BEFORE, ORPHAN, REASONS, REPEATED, SILENT

ZH, EN = language("zh"), language("en")

OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "contains", "matches")
VERSIONS = ("vgt", "vgte", "vlt", "vlte", "veq", "vne")
NAMES = ("customer.age", "events.buy.last_at", "customer.other", "gold")


def plain(text: str) -> str:
    """A text without what is a name or a value."""
    for name in NAMES:
        text = text.replace(name, "")
    return text


@pytest.mark.parametrize(("op", "negated"), list(product((*OPERATORS, *VERSIONS), (False, True))))
def test_what_a_clause_demands_has_no_english_word_in_chinese(op: str, negated: bool) -> None:
    for field, value in product(NAMES[:2], (3, MISSING)):
        wanted = ["2"] if op in ("in", "not_in") else "2026-11-21T10:00:00Z"
        for clause in (Clause(field, op, wanted), Clause(field, op, FieldOperand(NAMES[2]))):
            text = clause_in_words(clause, value, negated, "2026-11-21")
            said = ZH.say(text)
            values = ("T", "Z", '"2026-11-21"')
            assert EN.say(text) == text
            left = plain(said)
            for one in values:
                left = left.replace(one, "")
            assert not any(letter.isascii() and letter.isalpha() for letter in left), said


def test_conditions_are_said_in_each_language() -> None:
    one, other = Clause("customer.tier", "eq", "gold"), Clause("customer.n", "exists", True)
    both = All((one, AnyOf((other, Not(one)))))
    assert condition_words(both) == (
        "customer.tier = gold and (customer.n exists or not (customer.tier = gold))"
    )
    assert ZH.say(condition_words(both)) == (
        "customer.tier = gold 且 (customer.n 有值 或 不满足（customer.tier = gold）)"
    )
    [told] = failures(both, ["red", MISSING], ["customer.tier", "customer.n"].index)[:1]
    assert ZH.say(told) == 'customer.tier 是 "red"，必须是 "gold"'


def test_steps_and_caps_are_said_in_each_language() -> None:
    of = Selector(tags=("tip", "tea"), purpose=("news",))
    ask = Ask(name="a", placement="outbound", of=of, hold=2 * HOUR)
    assert (
        ZH.say(step_words(ask))
        == "在 outbound 询问，要 标签 tip、tea 且 用途 news，最多保留 2 小时"
    )
    assert ZH.say(step_words(Wait(name="w", lasts=3 * DAY))) == "等待 3 天"
    assert ZH.say(step_words(WaitUntil(name="n", minute=540, weekdays=(0, 5)))) == (
        "等到 周一、周六 09:00"
    )
    assert ZH.say(
        step_words(Split(name="s", seed="s", variants={"a": 0.5, "b": 0.5}, ways={}))
    ) == ("分流：a 50%、b 50%")
    cap = Cap(
        name="c", of=Selector(), at_most=FieldLimit("customer.most", 2), within="day", per="channel"
    )
    assert ZH.say(cap_words(cap)) == "在自然日内最多 customer.most（没有时 2） 次，按渠道"


def test_a_text_is_its_english_sentence_everywhere_else() -> None:
    text = Said("%(n)s of %(all)s", n=1, all=Counted("%(n)s contact", "%(n)s contacts", 2))
    assert text == "1 of 2 contacts" and hash(text) == hash("1 of 2 contacts")
    assert type(str(text)) is str and type(f"{text}") is str and type("; ".join([text])) is str
    again = pickle.loads(pickle.dumps(text))
    assert again == text and ZH.say(again) == ZH.say(text)
    listed = Joined(", ", [lasting(2 * DAY), "x"])
    assert listed == "48h, x" and ZH.say(listed) == "48 小时、x"
    assert Said("100%") == "100%" and ZH.say("as it is") == "as it is"


def test_fixed_texts_of_the_engine_are_written_there() -> None:
    package = Path(decision.__file__).parent
    sources = [path for path in package.rglob("*.py") if "console" not in path.parts]
    written = {
        one.value
        for path in sources
        for one in ast.walk(ast.parse(path.read_text()))
        if isinstance(one, ast.Constant)
    }
    assert [text for text in KNOWN if text not in written] == []


def test_rows_that_a_model_did_not_learn_from_are_named_in_each_language() -> None:
    names = {SILENT, *REASONS, ORPHAN, BEFORE, REPEATED}
    assert names - set(KNOWN) == set() and not [one for one in names if ZH.known(one) == one]


def test_what_stays_english_is_marked_so_and_escaped() -> None:
    assert ZH.told("a <b>") == '<span lang="en">a &lt;b&gt;</span>'
    assert EN.told("a <b>") == "a &lt;b&gt;"
    assert ZH.told(Said("rule %(name)s holds: %(facts)s", name="<b>", facts="x")) == (
        "规则 &lt;b&gt; 成立：x"
    )


def test_a_text_of_another_process_is_said_as_one_of_this() -> None:
    cap = Cap(name="c", of=Selector(), at_most=2, within="day", per="channel")
    when = All((Clause("customer.tier", "eq", "gold"), Clause("customer.n", "gt", 3)))
    told = failures(when, ["red", MISSING], ["customer.tier", "customer.n"].index)
    many = Counted("%(n)s contact", "%(n)s contacts", 2)
    for text in (cap_words(cap), Joined("; ", told), Said("%(n)s of %(all)s", n=1, all=many), "x"):
        sent = json.loads(json.dumps(packed(text)))
        assert unpacked(sent) == text and ZH.say(unpacked(sent)) == ZH.say(text)
