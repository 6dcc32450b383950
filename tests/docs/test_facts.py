"""What the pages say of names, keys, columns and settings is what the code says."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from decision.api.problems import KINDS
from decision.archive.dictionary import dictionary, table
from decision.cli.app import COMMANDS
from decision.core.clock import to_micros
from decision.core.definition import Settings
from decision.core.document import Document, EventHistory
from decision.core.fields import FieldTable, Situation
from decision.core.journeys.definition import EndReason
from decision.core.reasons import Reason
from decision.core.schema import Alias, Decision, DecisionRequest, Event, Outcome
from decision.core.texts import Rendering
from decision.engine.loading import CustomerRow
from decision.learning.gate_spec import PromotionGate
from decision.learning.lightgbm_spec import PARAMETERS
from decision.learning.spec import Spec
from decision.rulebook.checker import CONTACT_EVENTS
from decision.rulebook.content import compile_content
from decision.rulebook.filters import FILTERS
from decision.rulebook.reader import load_files, load_folder
from decision.rulebook.schema_values import key_help
from decision.rulebook.template_names import NAMESPACES
from decision.rulebook.templates import compile_template
from decision.server.consumer_metrics import ConsumerMetrics
from decision.server.decision_metrics import DEGRADED
from decision.server.delivery_metrics import DeliveryMetrics
from decision.server.journey_metrics import WakeMetrics
from decision.server.keys.entries import SCOPES
from decision.server.metrics import Metrics
from decision.server.settings import SETTINGS
from tests.docs.pages import ROOT, Block, blocks_of, table_after, text_of

SAMPLE = [ROOT / "rules" / name for name in ("settings.yaml", "audience.yaml")]


def code(cell: str) -> list[str]:
    """The words in backquotes in a cell."""
    return re.findall(r"`([^`]*)`", cell.replace("\\|", "|"))


def block(page: str, language: str, number: int = 0) -> str:
    return [one.text for one in blocks_of(page) if one.language == language][number]


def test_every_reason_for_which_runs_end_is_told() -> None:
    told = [code(row[0])[0] for row in table_after("docs/journeys.md", "Why runs end")]
    assert told == list(get_args(EndReason))


# ------------------------------------------------------------------ the README


def test_the_readme_is_short() -> None:
    for page in ("README.md", "README.zh-CN.md"):
        assert len(text_of(page).splitlines()) < 150


def test_both_readmes_show_the_same() -> None:
    def shown(page: str) -> list[str]:
        return [re.sub(r"  #.*", "", one.text) for one in blocks_of(page) if one.language]

    assert shown("README.md") == shown("README.zh-CN.md")
    assert "(README.zh-CN.md)" in text_of("README.md")
    assert "(README.md)" in text_of("README.zh-CN.md")


def test_the_answer_shown_is_one_that_the_server_gives() -> None:
    answer = json.loads(block("README.md", "json"))
    decision = msgspec.convert(answer, Decision)
    always = [one for one in msgspec.structs.fields(Decision) if one.default is not msgspec.UNSET]
    assert set(answer) == {field.name for field in always}
    rows = block("README.md", "text").splitlines()[1:]
    assert decision.selections[0].message in rows[0]
    for row in rows:
        message, _, reason = row.split()[:3]
        file, _, line = row.split()[-1].partition(":")
        cited = (ROOT / file).read_text("utf-8").splitlines()[int(line) - 1]
        assert cited.startswith(f"  {message}:")
        assert reason == "selected" or reason in set(Reason)


def test_the_sample_has_as_many_messages_and_candidates_as_is_said() -> None:
    definition = load_folder(ROOT / "rules").definition
    assert definition is not None
    candidates = sum(len(message.channels) for message in definition.messages)
    assert f"{candidates} candidates ({len(definition.messages)} messages" in text_of("README.md")
    assert f"a tea shop with {len(definition.messages)} messages" in text_of("docs/rules.md")


# -------------------------------------------------------------------- marketers


def test_every_key_of_rule_files_is_in_the_reference() -> None:
    page = text_of("docs/rule-keys.md")
    keys = {key for what, keys in key_help().items() if what not in ("field",) for key in keys}
    fields = {key.rpartition(".")[2] if "events" in key else key for key in key_help()["field"]}
    told = {word for line in page.splitlines() if line.startswith("|") for word in code(line)}
    assert keys - told == set()
    assert {field for field in fields if f"`{field}`" not in page} <= {"<measure>"}


def test_the_settings_of_a_policy_have_their_defaults() -> None:
    defaults = Settings()
    shown = {
        code(row[0])[0]: code(row[2])[0] for row in table_after("docs/rule-keys.md", "settings")
    }
    assert shown["timezone"] == defaults.timezone
    assert shown["currency"] == defaults.currency
    assert shown["week_starts"] == defaults.week_starts
    assert float(shown["exploration"]) == defaults.exploration
    assert float(shown["exploration_until"]) == defaults.exploration_until
    assert float(shown["starting_probability"].rstrip("%")) / 100 == defaults.starting_probability
    assert float(shown["starting_evidence"]) == defaults.starting_evidence
    assert shown.keys() == set(Settings.__struct_fields__)


def test_reason_codes_are_listed_in_their_order() -> None:
    listed = [code(row[0])[0] for row in table_after("docs/rule-keys.md", "Reason codes")]
    assert listed == [reason.value for reason in Reason]


def fragments() -> list[Block]:
    pages = ("docs/rule-keys.md", "docs/templates.md")
    return [
        one for page in pages for one in blocks_of(page) if one.language == "yaml" and not one.file
    ]


@pytest.mark.parametrize("fragment", fragments(), ids=lambda one: one.place)
def test_every_fragment_of_rules_is_valid_beside_the_sample(fragment: Block) -> None:
    """Beside its settings, the messages that are its fallbacks, and the variants it may name."""
    files = {path.name: path.read_text("utf-8") for path in SAMPLE}
    fallbacks = "messages:\n" + "".join(
        f"  {name}: {{purpose: service, channels: [{channel}], content: {{text: hello}}}}\n"
        for name, channel in (("hello", "in_app"),)
    )
    others = "\n".join(
        f"  {tag}: {{purpose: tips, category: {tag}, tags: [{tag}], channels: [in_app], value: 1}}"
        for tag in ("retention", "seasonal")
    )
    result = load_files(
        {**files, "fallbacks.yaml": fallbacks + others, "example.yaml": fragment.text}
    )
    assert [one.render() for one in result.errors] == []


def printing(language: str) -> dict[str, Any]:
    """What the examples of the page on templates name."""
    data: dict[str, Any] = json.loads(block("docs/templates.md", "json"))
    data["customer"]["language"] = language
    document = Document(customer_id="c-1024")
    document.events["tea-line"] = EventHistory(last={"sku": "LJ-100"})
    now = to_micros(datetime.fromisoformat("2026-11-21T10:00:00+08:00"))
    situation = Situation(
        document, "inbox", now, ZoneInfo("Asia/Shanghai"), variants=lambda name, of: "short"
    )
    rendering = Rendering(
        situation, Settings(currency="CNY"), FieldTable(), "01JD4XS9GPZ0000000000000AB"
    )
    return {**data, "placement": "inbox", "rendering": rendering}


def test_every_filter_is_in_a_table_and_prints_what_is_said() -> None:
    used = set()
    english, chinese = printing("en-GB"), printing("zh-CN")
    for heading in ("How values are printed", "Loops", "Filters", "Numbers, money and dates"):
        for row in table_after("docs/templates.md", heading):
            template = re.findall(r"`(.*?)`", row[0].replace("\\|", "|"))[0]
            used |= set(re.findall(r"\| (\w+)", template))
            printed = compile_template(template).render(english)
            assert printed == ("" if row[1].startswith("nothing") else code(row[1])[0]), template
            if heading.startswith("Numbers"):
                assert compile_template(template).render(chinese) == code(row[2])[0], template
    assert used == set(FILTERS)
    for field, template, printed in table_after("docs/templates.md", "Escaping"):
        name = code(field)[0]
        found = compile_content({name: code(template)[0]}, channel="email")(english)
        assert found == {name: printed.strip("`")}
    named = {
        name.partition(".")[0]
        for row in table_after("docs/templates.md", "What can stand in a template")
        for name in code(row[0])
    }
    assert named == set(NAMESPACES)


# ------------------------------------------------------------------ integrators


def test_every_field_of_a_request_is_told() -> None:
    told = {
        name for row in table_after("docs/integration.md", "The request") for name in code(row[0])
    }
    assert told == set(DecisionRequest.__struct_fields__)
    assert set(Alias.__struct_fields__) == {"type", "value"}
    outcomes = [code(row[0])[0] for row in table_after("docs/integration.md", "The answer")]
    assert outcomes == list(get_args(Outcome))


def test_problems_scopes_and_what_is_missing_are_told() -> None:
    rows = table_after("docs/integration.md", "Errors")
    assert [(int(row[0]), code(row[1])[0]) for row in rows] == [
        (kind.status, name) for name, kind in KINDS.items()
    ]
    assert [code(row[0])[0] for row in table_after("docs/integration.md", "Keys")] == list(SCOPES)
    rows = table_after("docs/integration.md", "Deadlines and degraded answers")
    assert {word for row in rows for word in code(row[0])} == set(DEGRADED)


def test_every_field_and_type_of_an_event_is_told() -> None:
    told = {
        name for row in table_after("docs/events.md", "Sending events") for name in code(row[0])
    }
    assert told == set(Event.__struct_fields__)
    rows = table_after("docs/events.md", "About a contact")
    assert {word for row in rows for word in code(row[0])} == set(CONTACT_EVENTS)


def test_every_key_of_a_loaded_customer_is_told() -> None:
    page = text_of("docs/customers.md")
    assert [key for key in CustomerRow.__struct_fields__ if f'"{key}"' not in page] == []


# -------------------------------------------------------------- data scientists


@pytest.mark.parametrize("dataset", dictionary())
def test_the_columns_of_the_log_are_those_of_the_code(dataset: str) -> None:
    """Each with its type, its meaning, and when it is null."""
    rows = table_after("docs/log.md", dataset)
    assert [f"| {' | '.join(row)} |" for row in rows] == table(dictionary()[dataset])[2:]


def test_every_key_of_a_spec_is_told() -> None:
    rows = table_after("docs/model-specs.md", "Keys")
    assert {code(row[0])[0] for row in rows} == set(Spec.__struct_fields__)
    page = text_of("docs/model-specs.md")
    assert [name for name in PARAMETERS if name not in page] == []
    for text in (page, text_of("docs/evaluation.md")):
        assert [name for name in PromotionGate.__struct_fields__ if f"{name}:" not in text] == []


# -------------------------------------------------------------------- operators


def test_the_table_of_settings_is_that_of_the_code() -> None:
    def row(setting: Any) -> list[str]:
        default = setting.default
        shown = str(default).lower() if isinstance(default, bool) else default
        return [f"`{setting.name}`", "" if default is None else f"`{shown}`", setting.help]

    assert table_after("docs/settings.md", "Settings") == [row(setting) for setting in SETTINGS]


def test_every_command_is_listed_and_no_other() -> None:
    listed = [code(row[0])[0].split()[1] for row in table_after("docs/commands.md", "Commands")]
    assert listed == list(COMMANDS)


def test_every_metric_is_told() -> None:
    rows = table_after("docs/operating.md", "What to watch")
    told = {re.split(r"[{]", word)[0] for row in rows for word in code(row[0])}
    sending = CollectorRegistry()
    DeliveryMetrics(sending)
    WakeMetrics(sending)
    ConsumerMetrics(sending)
    shown = [*Metrics().registry.collect(), *sending.collect()]
    families = {family.name for family in shown}
    assert {name.removesuffix("_total") for name in told} == families


def test_the_glossary_is_in_order() -> None:
    words = [row[0] for row in table_after("docs/glossary.md", "Glossary")]
    assert words == sorted(words, key=str.lower)


def test_the_server_is_signalled_by_a_pid_that_is_found() -> None:
    """The process is `python …/nextbest serve`: `pidof nextbest` finds nothing."""
    page = (ROOT / "docs/operating.md").read_text("utf-8")
    assert "kill -HUP PID" in page and "`listening`" in page
    assert not re.search(r"\b(pidof|pgrep|killall)\b", page)
