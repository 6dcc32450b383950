"""The gateways file: every mistake has a place, a reason and a fix, and shows no secret."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.gateways import (
    GatewayConfig,
    GatewaySettings,
    GatewaySettingsError,
    GatewayType,
    Limit,
    load_gateways,
    parse_gateways,
    registry,
)
from decision.gateways.json_schema import gateways_schema
from decision.gateways.protocol import Seconds
from decision.gateways.settings import load_unsubscribe

SCHEMA = jsonschema_rs.Draft7Validator(gateways_schema())
SECRET = "a secret that nobody may see anywhere"


def read(text: str, **environ: str) -> GatewaySettings:
    return parse_gateways("gateways.yaml", text, environ)


def refused(text: str, **environ: str) -> str:
    with pytest.raises(GatewaySettingsError) as caught:
        read(text, **environ)
    return str(caught.value)


def test_channels_lead_to_gateways_with_limits() -> None:
    found = read(
        "gateways: {print: {type: file, path: 'out/${DAY}', timeout: 5s, on_unknown: hold,\n"
        "  pause: {complaints: 0.5%, bounces: 5%}}}\n"
        "channels: {push: print, sms: print}\nlimits: {sms: 50/s, push: 9000/d}\n",
        DAY="monday",
    )
    assert found.gateway_of("sms") == "print" and found.gateway_of("email") is None
    assert found.limits == {"sms": Limit(50, 1), "push": Limit(9000, 86_400)}
    config = found.gateways["print"].config
    assert config.path == "out/monday" and config.timeout == 5 and config.on_unknown == "hold"  # type: ignore[attr-defined]
    assert (config.pause.complaints, config.pause.bounces) == (0.005, 0.05)


def test_without_a_file_every_channel_goes_to_files_below_nextbest() -> None:
    found = load_gateways(None)
    assert found.gateway_of("anything") == "file"
    assert found.gateways["file"].config.path == ".nextbest/outbox/"  # type: ignore[attr-defined]


WRONG = {
    "": "the file is empty",
    "[1]": "gateways.yaml:1:1: error: the gateways file must be a mapping",
    "gateway: {}": 'cannot have the key "gateway" [unknown-key]\n  hint: did you mean "gateways"?',
    "gateways: {print: {path: x}}": 'gateway print needs the key "type"',
    "gateways: {print: {type: fil, path: x}}": 'the type of gateway print is not known [unknown-name]\n  hint: did you mean "file"?',
    "gateways: {print: {type: 5}}": "the type of gateway print is not known",
    "gateways: {print: x}": "gateway print must be a mapping",
    "gateways: {print: {type: file, paht: x}}": 'cannot have the key "paht" [unknown-key]\n  hint: did you mean "path"?',
    "gateways: {print: {type: file}}": 'gateway print needs the key "path"',
    "gateways: {'a b': {type: file, path: x}}": "the name of a gateway has letters",
    "gateways:\n  print: {type: file, path: 5}": "gateways.yaml:2:29: error: path of gateway print: expected text, got whole number [bad-value]\n  hint: put it in quotes",
    "gateways: {p: {type: file, path: x, timeout: 10}}": "timeout of gateway p: write a time such as 30s",
    "gateways: {p: {type: file, path: x, timeout: 9h}}": "it can be at most 5m",
    "gateways: {p: {type: file, path: x, on_unknown: agian}}": 'on_unknown of gateway p is none of its words [bad-value]\n  hint: did you mean "again"?',
    "gateways: {p: {type: file, path: x, pause: {bounce: 1%}}}": 'pause of gateway p cannot have the key "bounce" [unknown-key]\n  hint: did you mean "bounces"?',
    "gateways: {p: {type: file, path: x, pause: {bounces: 10}}}": "bounces of pause of gateway p: write a share such as 1%",
    "gateways: {p: {type: file, path: x, concurrency: 0}}": "concurrency of gateway p: expected whole number >= 1",
    "gateways: {print: {type: file, path: x}}\nchannels: {push: prnt}": 'gateways.yaml:2:18: error: there is no gateway "prnt" [unknown-name]\n  hint: did you mean "print"?',
    "gateways: {print: {type: file, path: x}}\nchannels: {sms: print}\nlimits: {smss: 5/s}": '"smss" is not one of the channels here [unknown-name]\n  hint: did you mean "sms"?',
    "gateways: {print: {type: file, path: x}}\nchannels: {sms: print}\nlimits: {sms: 5 per s}": "the limit of sms must be how many deliveries in a time [bad-value]\n  hint: write 5/s",
    "gateways: {print: {type: file, path: '${X'}}": "has ${, and no name",
    "gateways: {print: {type: file, path: '${X-Y}'}}": "has ${, and no name",
    "unsubscribe: {url: 'https://a.example'}": 'unsubscribe needs the key "secret"',
    "unsubscribe: {url: 'a.example', secret: '${S}'}": "url of unsubscribe: it must be the address",
    "unsubscribe: {url: 'https://a.example', secret: short}": "it must have at least 24 characters",
    "gateways: &a {}": "YAML anchor",
    "gateways: {a: {type: file, path: x}, a: {type: file, path: y}}": "appears twice",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_named_with_its_place_and_its_fix(text: str) -> None:
    assert WRONG[text] in refused(text, S=SECRET)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("50 per s", "write 50/s"),
        ("50 per second", "write 50/s"),
        ("50/sec", "write 50/s"),
        ("50 / minute", "write 50/m"),
        ("'1,000 an hour'", "write 1000/h"),
        ("1 000 per day", "write 1000/d"),
        ("2_000/hours", "write 2000/h"),
        ("50", "say in which time: 50/s, 50/m, 50/h or 50/d"),
        ("0/s", "it is 1 at least; to send nothing, take the channel out"),
        ("50/month", "the time can be s, m, h or d"),
        ("50/week", "the time can be s, m, h or d"),
        ("50/ms", "the time can be s, m, h or d"),
        ("99999999/d", "write 50/s, 600/m"),
        ("1.5/s", "write 50/s, 600/m"),
        ("'-5/s'", "write 50/s, 600/m"),
        ("[50]", "write 50/s, 600/m"),
        ("null", "write 50/s, 600/m"),
        ("fast", "write 50/s, 600/m"),
    ],
)
def test_a_limit_that_is_almost_one_is_said_as_it_is_written(written: str, hint: str) -> None:
    said = refused(
        "gateways: {print: {type: file, path: x}}\nchannels: {sms: print}\n"
        f"limits: {{sms: {written}}}"
    )
    assert "the limit of sms must be how many deliveries in a time" in said
    assert f"hint: {hint}" in said


def test_a_limit_may_come_from_the_environment() -> None:
    text = "gateways: {p: {type: file, path: x}}\nchannels: {sms: p}\nlimits: {sms: '${RATE}/s'}"
    assert read(text, RATE="50").limits == {"sms": Limit(50, 1)}
    said = refused(text)
    assert "the limit of sms needs it" in said and "must be how many" not in said
    assert "77" not in refused(text, RATE="77 per")


def test_a_missing_secret_names_the_file_the_line_and_the_variable() -> None:
    text = "gateways:\n  print:\n    type: file\n    path: /x/${OUT_DIR}\n"
    said = refused(text)
    assert "gateways.yaml:4:11: error: the environment variable OUT_DIR is not set" in said
    assert "path of gateway print needs it" in said and "hint: set OUT_DIR" in said
    assert "OUT_DIR is empty" in refused(text, OUT_DIR="")


def test_every_missing_secret_is_named_at_once() -> None:
    said = refused("gateways: {a: {type: file, path: '${A}${B}'}, b: {type: file, path: '${C}'}}")
    assert all(f"variable {name} is not set" in said for name in "ABC")


@pytest.mark.parametrize(
    "text",
    [
        "gateways: {p: {type: file, path: x, timeout: '${S}'}}",
        "gateways: {p: {type: file, path: x, on_unknown: '${S}'}}",
        "gateways: {p: {type: file, path: x, concurrency: '${S}'}}",
        f"gateways: {{p: {{type: file, path: ['{SECRET}']}}}}",
        f"gateways: {{p: {{type: file, paht: '{SECRET}'}}}}",
        f"gateways: {{p: {{type: file, path: x, on_unknown: '{SECRET}'}}}}",
        f"gateways: '{SECRET}'",
        f"gateways: {{p: '{SECRET}'}}",
        f"gateways: {{p: {{type: '{SECRET}'}}}}",
        f"unsubscribe: {{url: '{SECRET}', secret: x}}",
        f"unsubscribe: {{url: 'https://x.example', secret: ['{SECRET}', x]}}",
    ],
)
def test_no_message_shows_a_value(text: str) -> None:
    assert SECRET not in refused(text, S=SECRET)


def test_what_is_printed_of_a_config_has_no_value() -> None:
    found = read("gateways: {p: {type: file, path: '${S}'}}", S=SECRET)
    assert SECRET not in f"{found!r} {found.gateways['p'].config} {found.gateways['p'].config!r}"


def test_two_dollars_stand_for_one() -> None:
    found = read("gateways: {p: {type: file, path: '$${HOME}/$.x/${{ y }}'}}")
    assert found.gateways["p"].config.path == "${HOME}/$.x/${{ y }}"  # type: ignore[attr-defined]


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(GatewaySettingsError) as caught:
            load_gateways(str(path))
        assert str(path) in str(caught.value)


def test_links_to_opt_out_are_read_without_the_secrets_of_gateways(tmp_path: Path) -> None:
    path = tmp_path / "gateways.yaml"
    path.write_text(
        "gateways: {p: {type: file, path: '${NOT_HERE}'}}\n"
        "unsubscribe: {url: 'https://x.example', secret: '${S}'}\n"
    )
    assert load_unsubscribe(str(path), {"S": SECRET}) is not None
    assert load_unsubscribe(None) is None
    path.write_text("gateways: {p: {type: file, path: x}}\n")
    assert load_unsubscribe(str(path), {}) is None


# -------------------------------------------------------- types of other packages


class PigeonConfig(GatewayConfig, frozen=True, kw_only=True):
    loft: str


PIGEON = GatewayType(config=PigeonConfig, make=lambda config, context: (context.name, config.loft))  # type: ignore[arg-type,return-value]
NO_TYPE = "something else"


def offer(monkeypatch: pytest.MonkeyPatch, value: str, name: str = "pigeon") -> None:
    point = EntryPoint(name, value, registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])


def test_a_type_whose_defaults_json_cannot_have_is_in_the_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Odd(GatewayConfig, frozen=True, kw_only=True):
        every: Seconds = Seconds(1)

    kind = GatewayType(config=Odd, make=lambda config, context: None)  # type: ignore[arg-type, return-value]
    monkeypatch.setattr("decision.gateways.json_schema.load_type", lambda point: kind)
    schema = jsonschema_rs.Draft7Validator(gateways_schema())
    assert schema.is_valid({"gateways": {"g": {"type": "file", "every": "3s"}}})


def test_another_package_adds_a_type_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "tests.gateways.test_settings:PIGEON")
    found = read("gateways: {p: {type: pigeon, loft: north}}\nchannels: {post: p}")
    assert found.open("p").gateway == ("p", "north")  # type: ignore[attr-defined]
    assert 'gateway p needs the key "loft"' in refused("gateways: {p: {type: pigeon}}")


@pytest.mark.parametrize(
    "value",
    ["no.such.module:X", "tests.gateways.test_settings:X", "tests.gateways.test_settings:NO_TYPE"],
)
def test_a_type_that_cannot_be_loaded_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    offer(monkeypatch, value)
    assert f"the type pigeon of {value}" in refused("gateways: {p: {type: pigeon}}")
    assert read("gateways: {p: {type: file, path: x}}").gateways


def test_a_type_of_ours_goes_before_one_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "tests.gateways.test_settings:PIGEON", "file")
    assert read("gateways: {p: {type: file, path: x}}").gateways["p"].type == "file"


# --------------------------------------------------------------- whatever somebody writes

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", " ", "x", "${S}", "${NO}", "${", "$${", "{{ customer.x }}", "{{", "{% for a in content.b %}",
         "https://a.example/", "http://10.0.0.1/", "http://[", "https://{{ content.x }}/", "$.a", "$", "5s",
         "1%", "a@b.example", "A <a@b.example>", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "\x7f", "\ud7ff"]
    )
    | st.text(max_size=8)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["status", "where", "id", "reason", "exists", "$.a", "complaints", "x", ""]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
RARELY = st.sampled_from([False, False, False, False, True])
TYPES = [name for name in registry.gateway_types() if name in registry._OURS]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_values_are_settings_or_errors_with_a_place(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(TYPES))
    config = registry.load_type(registry.gateway_types()[kind]).config
    fields = [field.encode_name for field in msgspec.structs.fields(config)]
    given = {name: data.draw(VALUES, label=name) for name in fields if data.draw(RARELY)}
    needed = {"url": "https://a.example/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
              "host": "h", "from": "a@b.example", "path": "x", "app_id": "a"}  # fmt: skip
    filled = {name: value for name, value in needed.items() if name in fields} | given
    written = {"gateways": {"g": {"type": kind, **filled}}, "channels": {"push": "g"}}
    try:
        found = parse_gateways("g.yaml", json.dumps(written), {"S": SECRET})
    except GatewaySettingsError as error:
        assert error.diagnostics and all(one.line for one in error.diagnostics), str(error)
        assert SECRET not in str(error)
    else:
        found.open("g")
        assert SCHEMA.is_valid(written), "the schema marks what is right"


@given(st.recursive(SCALARS, lambda one: st.lists(one, max_size=2) | st.dictionaries(
    st.sampled_from(["gateways", "channels", "limits", "unsubscribe", "type", "url", "secret", "a"]),
    one, max_size=3), max_leaves=12))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_file_is_settings_or_errors(value: object) -> None:
    try:
        parse_gateways("g.yaml", json.dumps(value), {"S": SECRET})
    except GatewaySettingsError as error:
        assert error.diagnostics and SECRET not in str(error)
    else:
        assert SCHEMA.is_valid(value), "the schema marks what is right"


@pytest.mark.parametrize(
    "wrong",
    [
        {"gateways": {"g": {"type": "smpt", "host": "h", "from": "a@b.example"}}},
        {"gateways": {"g": {"type": "smtp", "hots": "h", "host": "h", "from": "a@b.example"}}},
        {"gateways": {"g": {"type": "smtp", "host": "h"}}},
        {"gateways": {"g": {"type": "smtp", "host": "h", "from": "a@b.example", "port": 70000}}},
        {"gateways": {"g": {"type": "file", "path": "x", "on_unknown": "agian"}}},
        {"gateways": {"g": {"path": "x"}}},
        {"gateways": {"g h": {"type": "file", "path": "x"}}},
        {"limits": {"push": "50 in a second"}},
        {"gateway": {}},
    ],
)
def test_the_schema_marks_mistakes_that_the_check_refuses(wrong: object) -> None:
    assert not SCHEMA.is_valid(wrong)
    refused(json.dumps(wrong))
