"""`nextbest key create`."""

from __future__ import annotations

import hashlib
import json

from decision.server.keys import load_keys


def test_without_a_file_the_entry_goes_to_stdout_and_the_secret_to_stderr(run, tmp_path):
    result = run("key", "create", "my-app", "--scopes", "decide,events")
    assert result.exit_code == 0
    (tmp_path / "keys.yaml").write_text(result.stdout, "utf-8")
    [key] = load_keys(tmp_path / "keys.yaml")
    assert (key.name, key.scopes) == ("my-app", ["decide", "events"])
    secret = next(word for word in result.stderr.split() if word.startswith("nbk_"))
    assert hashlib.sha256(secret.encode()).hexdigest() == key.sha256
    assert secret not in result.stdout


def test_with_a_file_the_entry_is_appended_and_only_the_owner_reads_it(run, tmp_path):
    path = tmp_path / "keys.yaml"
    for name in ("app", '他 said "hi"'):
        result = run("key", "create", name, "--scopes", "admin", "--file", path)
        assert result.exit_code == 0
    keys = load_keys(path)
    assert [key.name for key in keys] == ["app", '他 said "hi"']
    assert hashlib.sha256(result.stdout.strip().encode()).hexdigest() == keys[1].sha256
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_name_is_given_once(run, tmp_path):
    path = tmp_path / "keys.yaml"
    run("key", "create", "app", "--scopes", "admin", "--file", path)
    before = path.read_text("utf-8")
    result = run("key", "create", "app", "--scopes", "decide", "--file", path)
    assert result.exit_code == 1
    assert "has a key app already" in result.stderr
    assert path.read_text("utf-8") == before


def test_a_scope_that_does_not_exist_is_wrong_usage(run):
    result = run("key", "create", "app", "--scopes", "everything")
    assert result.exit_code == 2
    assert "decide, events, customers, admin" in result.stderr


def test_a_file_that_holds_something_else_is_left_as_it_is(run, tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text("a: [1\n", "utf-8")
    result = run("key", "create", "app", "--scopes", "admin", "--file", path)
    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert path.read_text("utf-8") == "a: [1\n"


def test_json_holds_secret_and_entry(run):
    answer = json.loads(run("key", "create", "app", "--scopes", "admin", "--json").stdout)
    assert sorted(answer) == ["name", "scopes", "secret", "sha256"]
