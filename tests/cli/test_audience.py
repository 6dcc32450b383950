"""`nextbest audience`, over a real store."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from decision.cli.audience_lock import alone, is_held, lock_of
from decision.cli.output import Fail

CUSTOMERS = """\
customer_id,country,segment.vip,alias.email,consent.marketing.email,reachable
ann,CN,true,Ann@Shop.example,granted,
bob,CN,true,bob@shop.example,denied,
cem,DE,true,cem@shop.example,granted,
dan,CN,,dan@shop.example,granted,in_app
"""


@pytest.fixture
def where(rules: Path, redis_url: str, prefix: str, run: Any, tmp_path: Path) -> list[str]:
    """The options that name a store with four customers."""
    found = ["--redis-url", redis_url, "--key-prefix", prefix, "--rules", str(rules)]
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    (tmp_path / "cn.yaml").write_text("customer.country: CN\n")
    assert run("load", "customers.csv", *found).exit_code == 0
    return found


AGREED = ("--purpose", "marketing", "--channel", "email")


def test_a_segment_as_csv(run, where) -> None:
    options = ("--segment", "vip", *AGREED, "--fields", "country,alias.email", "--out", "vip.csv")
    result = run("audience", *options, *where)
    assert result.exit_code == 0, result.output
    assert "3 of 4 customers match, 1 without consent" in result.stdout
    assert sorted(Path("vip.csv").read_text().splitlines()) == [
        "ann,CN,Ann@Shop.example",
        "cem,DE,cem@shop.example",
        "customer_id,country,alias.email",
    ]
    result = run("audience", *options, *where)
    assert result.exit_code == 1 and "vip.csv exists already" in result.stderr
    assert run("audience", *options, "--overwrite", *where).exit_code == 0


def test_a_condition_as_parquet_and_what_machines_are_told(run, where) -> None:
    options = ("--when", "cn.yaml", *AGREED, "--out", "cn.parquet", "--json")
    result = run("audience", *options, *where)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["customers"] == 4 and told["matched"] == 3 and told["rows"] == 1
    assert told["withheld"] == {"no_consent": 1, "unreachable": 1}
    assert pq.read_table("cn.parquet").to_pylist() == [{"customer_id": "ann"}]


def test_without_a_target_customers_are_counted_and_nothing_is_left(run, where) -> None:
    result = run("audience", "--when", "cn.yaml", "--ignore-consent", *where)
    assert result.exit_code == 0 and "3 of 4 customers match" in result.stdout
    assert list(Path(".nextbest/audiences").iterdir()) == []


def test_what_a_file_says_can_be_loaded_again(run, where) -> None:
    options = (
        "--segment",
        "vip",
        "--ignore-consent",
        "--fields",
        "country,segment.vip,alias.email",
    )
    assert run("audience", *options, "--out", "vip.csv", *where).exit_code == 0
    result = run("load", "vip.csv", *where)
    assert result.exit_code == 0 and "3 customers loaded" in result.stdout


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--segment", "vip"], 2, "--ignore-consent asks nobody"),
        (["--segment", "vip", "--when", "cn.yaml", *AGREED], 2, "--when FILE or --segment NAME"),
        ([*AGREED], 2, "--when FILE or --segment NAME"),
        (["--segment", "vip", *AGREED, "--ignore-consent"], 2, "--purpose asks for consent"),
        (["--segment", "vip", "--channel", "email", "--ignore-consent"], 1, "for which purpose"),
        (["--segment", "vip", "--purpose", "markting"], 1, 'did you mean "marketing"'),
        (["--segment", "vip", "--purpose", "service", "--channel", "mail"], 1, 'mean "email"'),
        (["--segment", "vpi", *AGREED], 1, 'no segment "vpi"'),
        (["--segment", "vpi", *AGREED], 1, 'did you mean "vip"'),
        (["--when", "none.yaml", *AGREED], 1, "none.yaml: No such file"),
        (["--segment", "vip", *AGREED, "--out", "vip.xls"], 2, ".csv, .ndjson, .jsonl, .parquet"),
        (["--segment", "vip", *AGREED, "--out", "no/vip.csv"], 1, "there is no such folder"),
        (["--segment", "vip", *AGREED, "--hash", "name"], 1, "email and phone"),
        (["--segment", "vip", *AGREED, "--fields", "event.type"], 1, "comes with a request"),
        (["--segment", "vip", *AGREED, "--gateway", "fil"], 1, 'did you mean "file"'),
        (["--segment", "vip", *AGREED, "--calling-code", "+86"], 2, "write digits"),
        (["--segment", "vip", *AGREED, "--since", "latest"], 1, "leave --since out"),
        (["--segment", "vip", *AGREED, "--since", "x"], 1, "there is no such run"),
        (["--resume"], 1, "no run in .nextbest/audiences"),
        (["--resume", "x"], 1, "there is no such run"),
        (["--resume", "../x"], 1, "not the name of a run"),
        (["--segment", "vip", "--purpose", "service", "--channel", "in_app", "--rate", "0"], 2, ""),
    ],
)
def test_what_cannot_be_is_said_with_the_fix(run, where, options, code, said) -> None:
    result = run("audience", *options, *where)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    runs = Path(".nextbest/audiences")
    assert not runs.exists() or list(runs.iterdir()) == []


def test_what_cannot_be_written_is_said_before_anything_is_read(run, where) -> None:
    Path("folder.csv").mkdir()
    result = run(
        "audience", "--segment", "vip", *AGREED, "--out", "folder.csv", "--overwrite", *where
    )
    assert result.exit_code == 1 and "folder.csv is a folder" in result.stderr


def test_other_rules_after_an_end_are_said(run, where, rules: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "vip.csv")

    with monkeypatch.context() as patched:
        patched.setattr("decision.audiences.job.write_rows", full)
        run("audience", "--segment", "vip", *AGREED, "--out", "vip.csv", *where)
    (rules / "more.yaml").write_text("channels: {sms: {}}\n")
    result = run("audience", "--resume", *where)
    assert result.exit_code == 0 and "the rules have changed since run" in result.stderr


def test_a_wrong_condition_is_shown_with_its_place(run, where) -> None:
    Path("bad.yaml").write_text("customer.country: CN\nevent.type: purchase\n")
    result = run("audience", "--when", "bad.yaml", *AGREED, *where)
    assert result.exit_code == 1
    assert "bad.yaml:2:1: error: an audience cannot use event.type" in result.stderr
    assert "hint: write what happened before" in result.stderr


def test_without_a_store_none_is_started(run, rules) -> None:
    result = run("audience", "--segment", "vip", *AGREED, "--rules", rules)
    assert result.exit_code == 1 and "there is no store in" in result.stderr
    assert not Path(".nextbest").exists()


def test_an_empty_audience_is_said_and_nothing_is_written(run, where) -> None:
    Path("fr.yaml").write_text("customer.country: FR\n")
    result = run("audience", "--when", "fr.yaml", *AGREED, "--out", "fr.csv", *where)
    assert result.exit_code == 1 and not Path("fr.csv").exists()
    assert "0 of 4 customers match" in result.stdout and "the audience is empty" in result.stderr


def test_a_run_is_audited_and_compared_with_the_next(run, where) -> None:
    options = ("--segment", "vip", *AGREED)
    first = run("audience", *options, "--out", "all.ndjson", "--json", *where)
    name = json.loads(first.stdout)["run"]
    entries = json.loads(run("audit", "--json", *where[:4]).stdout)
    assert (entries[-1]["action"], entries[-1]["target"]) == ("audience.give", name)
    Path("later.ndjson").write_text(
        '{"customer_id": "ann", "consents": {"marketing": {"email": "denied"}}}\n'
        '{"customer_id": "eve", "attributes": {"segment": {"vip": true}}, '
        '"consents": {"marketing": {"email": "granted"}}}\n'
    )
    assert run("load", "later.ndjson", *where).exit_code == 0
    for since, out in ((name, "one.csv"), ("latest", "two.csv")):
        result = run("audience", *options, "--since", since, "--out", out, *where)
        assert result.exit_code == 0, result.output
        if since == name:
            assert "2 rows (1 joined, 1 left)" in result.stdout
    assert sorted(Path("one.csv").read_text().splitlines()) == [
        "ann,left",
        "customer_id,change",
        "eve,joined",
    ]
    assert Path("two.csv").read_text() == "customer_id,change\n"


def test_a_finished_run_is_not_done_again_and_other_options_are_refused(run, where) -> None:
    options = ("--segment", "vip", *AGREED, "--out", "vip.csv")
    result = run("audience", *options, "--resume", *where)
    assert result.exit_code == 0 and Path("vip.csv").exists()  # there was none: it began
    Path("vip.csv").unlink()
    for more in ((), options):
        again = run("audience", "--resume", *more, *where)
        assert again.exit_code == 0 and "is finished already" in again.stderr
    assert not Path("vip.csv").exists()
    other = run("audience", "--resume", "--segment", "tea", *where)
    assert other.exit_code == 1 and "began with another --segment" in other.stderr


def test_a_process_that_is_killed_leaves_a_run_that_goes_on(run, where) -> None:
    with Path("many.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "segment.many"])
        writer.writerows([f"m-{number}", "true"] for number in range(3_000))
    assert run("load", "many.csv", *where).exit_code == 0
    command = [
        *(sys.executable, "-m", "decision.cli", "audience", "--segment", "many"),
        *("--ignore-consent", "--out", "many.ndjson", "--resume", *where),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    runs = Path(".nextbest/audiences")
    with Path("out.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--rate", "1500"], env=environment, stdout=log, stderr=log
        )
        deadline = time.monotonic() + 60
        while not any(one.stat().st_size > 60_000 for one in runs.glob("*.sqlite")):
            assert process.poll() is None and time.monotonic() < deadline, Path(
                "out.log"
            ).read_text()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not Path("many.ndjson").exists() and len(list(runs.glob("*.sqlite"))) == 1
    result = run(*command[3:])
    assert result.exit_code == 0, result.output
    lines = Path("many.ndjson").read_text().splitlines()
    given = [json.loads(line)["customer_id"] for line in lines]
    assert Counter(given) == Counter(f"m-{number}" for number in range(3_000))
    assert len(list(runs.glob("*.sqlite"))) == 1


def test_a_full_disk_is_said_and_the_run_goes_on(run, where, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "vip.csv")

    with monkeypatch.context() as patched:
        patched.setattr("decision.audiences.job.write_rows", full)
        result = run("audience", "--segment", "vip", *AGREED, "--out", "vip.csv", *where)
    assert result.exit_code == 1 and "No space left" in result.stderr
    assert "go on with: nextbest audience --resume" in result.stderr
    assert run("audience", "--resume", *where).exit_code == 0 and Path("vip.csv").exists()


def test_a_gateway_that_takes_no_audiences_is_refused_before_anything_is_done(run, where) -> None:
    Path("g.yaml").write_text(
        "gateways: {texts: {type: http, url: 'https://a.example/', body: {to: '{{ customer.phone }}'}}}\n"
    )
    given = ("audience", "--segment", "vip", *AGREED, "--gateways", "g.yaml", "--gateway", "texts")
    before = json.loads(run("audit", "--json", *where[:4]).stdout)
    result = run(*given, *where)
    assert result.exit_code == 1
    assert "gateway texts: it is set up for messages" in result.stderr
    assert "name a gateway without body" in result.stderr and "--resume" not in result.stderr
    assert not Path(".nextbest/audiences").exists()
    assert json.loads(run("audit", "--json", *where[:4]).stdout) == before


def test_an_audience_of_nobody_told_nobody(run, where) -> None:
    Path("fr.yaml").write_text("customer.country: FR\n")
    before = json.loads(run("audit", "--json", *where[:4]).stdout)
    run("audience", "--when", "fr.yaml", *AGREED, "--out", "fr.csv", *where)
    assert json.loads(run("audit", "--json", *where[:4]).stdout) == before


def test_rows_without_a_hash_are_told_by_column(run, where) -> None:
    options = ("--segment", "vip", *AGREED, "--hash", "email,phone", "--out", "vip.csv")
    result = run("audience", *options, *where)
    assert "2 rows without phone_sha256: no phone, or none of its form" in result.stdout
    assert "email_sha256" not in result.stdout


def test_a_control_group_can_be_left_out(run, where, rules: Path) -> None:
    options = ("--segment", "vip", *AGREED, "--without-holdouts", "--json")
    result = run("audience", *options, *where)
    assert "no control group that does not hear of this" in result.stderr
    assert json.loads(result.stdout)["withheld"] == {"no_consent": 1}
    path = rules / "quiet.yaml"
    path.write_text("experiments: {quiet: {share: 99.9%, seed: s-1, keeps: [service]}}\n")
    result = run("audience", *options, *where)
    assert json.loads(result.stdout)["withheld"] == {"no_consent": 1, "holdout": 2}
    result = run("audience", *options[:-2], *where)
    assert "in a control group" not in result.stdout
    path.write_text(
        "experiments: {quiet: {share: 99.9%, seed: s-1, keeps: [service, marketing]}}\n"
    )
    result = run("audience", *options, *where)
    assert json.loads(result.stdout)["withheld"] == {"no_consent": 1}
    result = run("audience", "--segment", "vip", "--ignore-consent", "--without-holdouts", *where)
    assert "3 in a control group" in result.stdout


@pytest.mark.parametrize(
    ("modes", "options", "said"),
    [
        ({".nextbest/audiences": 0o555}, ["--out", "new.csv"], ".nextbest/audiences"),
        ({".nextbest/audiences": 0o555}, [], ".nextbest/audiences"),
        ({".nextbest/audiences": 0o555}, ["--out", "vip.csv", "--resume"], ".nextbest/audiences"),
        ({".nextbest/audiences/*": 0o000}, ["--out", "vip.csv", "--resume"], ".sqlite: Permission"),
        ({".nextbest/audiences/*": 0o444}, ["--out", "vip.csv", "--resume"], ".sqlite: Permission"),
        (
            {".nextbest/audiences/*": 0o444},
            ["--out", "x.csv", "--since", "latest"],
            ".sqlite: Perm",
        ),
    ],
)
def test_runs_that_cannot_be_read_or_written_are_named_with_the_fix(
    run, where, tmp_path, modes, options, said
) -> None:
    given = ("audience", "--segment", "vip", *AGREED)
    assert run(*given, "--out", "vip.csv", *where).exit_code == 0
    changed = [path for name in modes for path in tmp_path.glob(name)]
    for path in changed:
        path.chmod(next(iter(modes.values())))
    rights = "-dac_override,-dac_read_search"  # without these, root is as others are
    before = [] if os.geteuid() else ["setpriv", "--bounding-set", rights, "--inh-caps", rights]
    if before and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    command = [*before, sys.executable, "-m", "decision.cli", *given, *options, *where]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    for path in changed:
        path.chmod(0o755)
    assert result.returncode == 1 and said in result.stderr, result.stderr
    assert "--runs names another folder" in result.stderr
    assert "nextbest itself failed" not in result.stderr
    assert not Path("new.csv").exists() and not Path("x.csv").exists()


def test_one_process_at_a_time_gives_an_audience_to_a_target(run, where) -> None:
    runs, out = Path(".nextbest/audiences"), str(Path("vip.csv").absolute())
    given = ("audience", "--segment", "vip", *AGREED, "--out", "vip.csv")
    with alone(lock_of(runs, out, "vip", ""), out):
        for more in ([], ["--resume"]):
            result = run(*given, *more, *where)
            assert result.exit_code == 1
            assert f"another process is giving this audience to {out}; wait" in result.stderr
        other = ("audience", "--segment", "vip", *AGREED, "--out", "other.csv")
        assert run(*other, *where).exit_code == 0
        assert run("audience", "--segment", "vip", *AGREED, *where).exit_code == 0
    assert run(*given, *where).exit_code == 0
    assert [one for one in runs.iterdir() if one.suffix == ".lock"] == []


def test_a_process_that_is_killed_keeps_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    code = (
        "import sys, time; from pathlib import Path; from decision.cli.audience_lock import alone\n"
        f"with alone(Path({str(path)!r}), 'x'): print('held', flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    holder = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert is_held(path)
    with pytest.raises(Fail, match="another process"), alone(path, "x"):
        pass
    holder.kill()
    holder.wait()
    assert not is_held(path)
    with alone(path, "x"):
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("contry", "contry: no customer has it; did you mean country?"),
        ("customer.contry", "customer.contry: no customer has it"),
        ("alias.emial", "alias.emial: no customer has it; did you mean alias.email?"),
        ("country", ""),
        ("customer.country", ""),
        ("alias.email", ""),
    ],
)
def test_a_column_that_no_customer_has_is_said(run, where, field: str, said: str) -> None:
    options = ("--segment", "vip", "--ignore-consent", "--fields", field, "--out", "x.csv")
    result = run("audience", *options, *where)
    assert result.exit_code == 0, result.output
    assert said in result.stderr
    assert bool(said) == ("no customer has it" in result.stderr)
