"""The README keeps step with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from decision.cli.app import COMMANDS
from decision.core.schema import Decision, DecisionRequest
from decision.rulebook.reader import load_files, load_folder
from decision.server.settings import SETTINGS, Setting

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def row(setting: Setting) -> str:
    """A setting's row of the table of settings."""
    default = setting.default
    if isinstance(default, bool):
        default = str(default).lower()
    shown = "" if default is None else f"`{default}`"
    return f"| `{setting.name}` | {shown} | {setting.help} |"


def test_the_table_of_settings_is_that_of_the_code():
    table = re.findall(r"^\| `NEXTBEST_.*$", README, re.MULTILINE)
    assert table == [row(setting) for setting in SETTINGS]


def test_every_command_is_listed_and_no_other():
    listed = re.findall(r"^\| `nextbest (\w+)", README, re.MULTILINE)
    assert listed == list(COMMANDS)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_request_and_answer_are_of_the_form_that_the_server_speaks():
    import msgspec

    request, answer = (json.loads(block) for block in blocks("json"))
    msgspec.convert(request, DecisionRequest)
    decision = msgspec.convert(answer, Decision)
    assert decision.selections[0].message in README
    assert set(answer) == {field.name for field in msgspec.structs.fields(Decision)}


def test_the_call_sends_the_request_that_is_shown():
    sent = re.search(r"-d '(\{.*?\})'\)", README)
    assert sent is not None
    assert json.loads(sent[1]) == json.loads(blocks("json")[0])


def test_the_rules_shown_are_sound_beside_the_settings_of_the_sample():
    example = blocks("yaml")[0]
    names = ("settings.yaml", "audience.yaml")
    files = {name: (ROOT / "rules" / name).read_text("utf-8") for name in names}
    fallbacks = "messages:\n" + "".join(
        f"  {name}: {{purpose: service, channels: [{channel}], content: {{text: hello}}}}\n"
        for name, channel in (("hello", "in_app"), ("chat-hello", "wechat"))
    )
    result = load_files({**files, "example.yaml": example, "fallbacks.yaml": fallbacks})
    assert result.errors == []


def test_the_sample_has_as_many_messages_as_is_said():
    said = re.search(r"a tea shop with (\d+) messages", README)
    definition = load_folder(ROOT / "rules").definition
    assert said is not None
    assert definition is not None
    assert int(said[1]) == len(definition.messages)


def test_every_file_that_is_linked_is_there():
    for target in re.findall(
        r"\]\(([^)#]+)\)", README + (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    ):
        assert target.startswith("http") or (ROOT / target).exists(), target
