"""`nextbest key create|list|revoke`."""

from __future__ import annotations

import hashlib
import json
import os
import threading

from decision.server.keys.edits import add_key, remove_key
from decision.server.keys.entries import load_keys, make_key


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


FILE = """\
# who may call us
- name: "app"          # the shop
  sha256: {0}
  scopes: [decide, events]

# the team's own
- {{name: desk, sha256: {1}, scopes: [customers.read], expires: 2127-01-01}}

-
  name: ops
  sha256: {2}
  scopes:
    - admin
# the end
"""


def written(path):
    path.write_text(FILE.format("a" * 64, "b" * 64, "c" * 64), "utf-8")
    return path


def names(path):
    return [key.name for key in load_keys(path)]


def test_an_end_is_kept_with_the_key(run, tmp_path):
    path = tmp_path / "keys.yaml"
    for name, end in (("a", "2127-01-01"), ("b", "2127-01-01T08:00:00+08:00")):
        result = run(
            *("key", "create", name, "--scopes", "admin", "--expires", end, "--file", path)
        )
        assert result.exit_code == 0, result.stderr
    first, second = load_keys(path)
    assert first.expires.isoformat() == "2127-01-01T00:00:00+00:00"
    assert first.expires == second.expires


def test_an_end_that_is_none_or_over_is_wrong_usage(run):
    for end in ("soon", "2127-01-01T00:00:00", "2127-13-01", "2020-01-01", ""):
        result = run("key", "create", "a", "--scopes", "admin", "--expires", end)
        assert result.exit_code == 2, end
        assert "--expires" in result.stderr


def test_the_list_shows_names_scopes_and_ends_and_no_hashes(run, tmp_path):
    path = written(tmp_path / "keys.yaml")
    path.write_text(path.read_text().replace("2127", "2020"))
    result = run("key", "list", "--file", path)
    assert result.exit_code == 0
    assert "a" * 64 not in result.stdout
    for word in ("app", "decide, events", "desk", "2020-01-01", "expired", "never", "valid"):
        assert word in result.stdout
    rows = json.loads(run("key", "list", "--file", path, "--json").stdout)
    assert [(row["name"], row["state"]) for row in rows] == [
        ("app", "valid"),
        ("desk", "expired"),
        ("ops", "valid"),
    ]


def test_the_file_comes_from_the_server_s_variable(run, tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTBEST_API_KEYS_FILE", str(written(tmp_path / "keys.yaml")))
    assert "desk" in run("key", "list").stdout
    assert run("key", "revoke", "desk").exit_code == 0
    assert "desk" not in run("key", "list").stdout


def test_a_revoked_key_is_taken_out_and_the_rest_stays_as_it_was(run, tmp_path):
    everything = ["app", "desk", "ops"]
    for name in everything:
        path = written(tmp_path / "keys.yaml")
        path.chmod(0o640)
        before = path.read_text()
        result = run("key", "revoke", name, "--file", path)
        assert result.exit_code == 0, result.stderr
        assert names(path) == [one for one in everything if one != name]
        after = path.read_text()
        assert all(line in before.splitlines() for line in after.splitlines())
        for comment in ("# who may call us", "# the team's own", "# the end"):
            assert comment in after
        assert path.stat().st_mode & 0o777 == 0o640


def test_the_last_key_can_be_revoked_and_then_another_made(run, tmp_path):
    path = tmp_path / "keys.yaml"
    run("key", "create", "one", "--scopes", "admin", "--file", path)
    result = run("key", "revoke", "one", "--file", path)
    assert result.exit_code == 0
    assert "no keys now" in result.stderr
    assert run("key", "create", "two", "--scopes", "admin", "--file", path).exit_code == 0
    assert names(path) == ["two"]


def test_a_name_that_is_not_there_is_refused_with_the_nearest(run, tmp_path):
    path = written(tmp_path / "keys.yaml")
    before = path.read_bytes()
    result = run("key", "revoke", "dessk", "--file", path)
    assert result.exit_code == 1
    assert "did you mean desk?" in result.stderr
    assert path.read_bytes() == before
    assert run("key", "revoke", "--file", path).exit_code == 2
    assert run("key", "revoke", "a", "--file", tmp_path / "none.yaml").exit_code == 1


def test_json_stays_json_and_a_list_in_brackets_is_left_to_people(run, tmp_path):
    path = tmp_path / "keys.json"
    entries = [
        {"name": name, "sha256": digit * 64, "scopes": ["decide"]} for name, digit in ("a1", "b2")
    ]
    path.write_text(json.dumps(entries))
    assert run("key", "revoke", "a", "--file", path).exit_code == 0
    assert json.loads(path.read_text()) == entries[1:]
    assert run("key", "create", "c", "--scopes", "admin", "--file", path).exit_code == 0
    assert [entry["name"] for entry in json.loads(path.read_text())] == ["b", "c"]
    path.write_text("[{name: a, sha256: " + "a" * 64 + ", scopes: [decide]}] # mine\n")
    for command in (("create", "d", "--scopes", "admin"), ("revoke", "a")):
        result = run("key", *command, "--file", path)
        assert result.exit_code == 1
        assert "by hand" in result.stderr
        assert "# mine" in path.read_text()


def test_a_link_stays_a_link(run, tmp_path):
    (tmp_path / "real").mkdir()
    real = written(tmp_path / "real" / "keys.yaml")
    link = tmp_path / "keys.yaml"
    link.symlink_to(real)
    assert run("key", "revoke", "app", "--file", link).exit_code == 0
    assert link.is_symlink()
    assert names(real) == ["desk", "ops"]


def test_a_pipe_is_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "keys.yaml")
    for command in (("list",), ("revoke", "a"), ("create", "a", "--scopes", "admin")):
        result = run("key", *command, "--file", tmp_path / "keys.yaml")
        assert result.exit_code == 1
        assert "not a regular file" in result.stderr


def test_changes_at_the_same_time_are_all_made(tmp_path):
    """A key that is made meanwhile must not bring a revoked one back."""
    path = tmp_path / "keys.yaml"
    for turn in range(8):
        add_key(path, make_key(f"old{turn}", ["admin"])[1])
    work = [
        threading.Thread(target=change, args=arguments)
        for turn in range(8)
        for change, arguments in (
            (add_key, (path, make_key(f"new{turn}", ["admin"])[1])),
            (remove_key, (path, f"old{turn}")),
        )
    ]
    for one in work:
        one.start()
    for one in work:
        one.join(60)
    assert sorted(names(path)) == [f"new{turn}" for turn in range(8)]


def test_a_rate_is_written_and_listed(run, tmp_path):
    path = tmp_path / "keys.yaml"
    for name, rate in (("app", "100/second"), ("job", "10/second; 5000/hour")):
        made = run("key", "create", name, "--scopes", "decide", "--rate", rate, "--file", path)
        assert made.exit_code == 0, made.output
    run("key", "create", "free", "--scopes", "decide", "--file", path)
    assert [key.rate for key in load_keys(path)] == ["100/second", "10/second; 5000/hour", None]
    listed = run("key", "list", "--file", path).output
    assert "100/second" in listed and "10/second; 5000/hour" in listed and "no limit" in listed
    found = json.loads(run("key", "list", "--file", path, "--json").stdout)
    assert [one.get("rate") for one in found] == ["100/second", "10/second; 5000/hour", None]


def test_a_rate_that_is_none_is_wrong_usage(run, tmp_path):
    path = tmp_path / "keys.yaml"
    for rate in ("fast", "0/second", ""):
        wrong = run("key", "create", "app", "--scopes", "decide", "--rate", rate, "--file", path)
        assert wrong.exit_code == 2
        assert "100/second, 1000/minute or 5000/hour" in wrong.output
    assert not path.exists()
