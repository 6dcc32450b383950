"""The command as a whole: help, errors, exit codes, start-up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import rich_click as click
from click.testing import CliRunner

from decision.cli.app import _PANELS, COMMANDS, LazyCommand, cli
from decision.core.errors import StoreUnavailable

HEAVY = ("litestar", "redis", "numpy", "lightgbm", "uvicorn", "ruamel", "msgspec", "structlog")


def real(name: str) -> click.Command:
    command = cli.commands[name]
    assert isinstance(command, LazyCommand)
    return command.load()


def test_help_lists_every_command_in_one_line_each(run):
    result = run("--help")
    assert result.exit_code == 0
    for name, short_help in COMMANDS.items():
        assert name in result.stdout
        assert short_help in result.stdout


def test_every_command_stands_in_one_panel():
    assert sorted(name for panel in _PANELS for name in panel["commands"]) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says_of_it(name):
    assert real(name).get_short_help_str(limit=200) == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Example: nextbest {name}" in result.stdout


@pytest.mark.parametrize(
    "args", [["chek"], ["check", "--nope"], ["load"], ["decide", "--rules", "x"], ["key", "create"]]
)
def test_wrong_usage_exits_2_and_names_the_help(run, args):
    result = run(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert "--help" in result.stderr
    assert result.stdout == ""


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom decision.cli.app import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository()
    )
    assert done.stderr.strip() == "[]"


def repository() -> Path:
    return Path(__file__).resolve().parents[2]


def test_the_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "decision.cli", "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=repository(),
    )
    assert done.returncode == 0
    assert done.stdout.startswith("nextbest ")


def failing(error: BaseException) -> CliRunner:
    """The command with a subcommand `fail` that raises."""

    @click.command()
    def fail() -> None:
        raise error

    cli.add_command(fail)
    try:
        return CliRunner().invoke(cli, ["fail"])
    finally:
        del cli.commands["fail"]


def test_a_store_that_is_away_is_one_sentence():
    result = failing(StoreUnavailable("Redis at localhost:1 does not answer; start it"))
    assert result.exit_code == 1
    assert result.stderr == "Error: Redis at localhost:1 does not answer; start it\n"


def test_a_file_that_is_missing_is_one_sentence_with_its_name():
    result = failing(FileNotFoundError(2, "No such file or directory", "a.csv"))
    assert result.exit_code == 1
    assert result.stderr == "Error: a.csv: No such file or directory\n"


def test_an_argument_that_is_not_utf_8_is_named():
    try:
        "n\udcff".encode()
    except UnicodeEncodeError as error:
        result = failing(error)
    assert result.exit_code == 1
    assert result.stderr.startswith(r"Error: 'n\udcff' is not UTF-8; write arguments")


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it():
    result = failing(ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow"))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: this needs pyarrow; install what is missing")


@pytest.mark.parametrize("name", ["decision.x", "pyarrow.x", "numpy", None])
def test_any_other_module_that_is_missing_is_a_fault_of_our_own(name):
    result = failing(ModuleNotFoundError(f"No module named {name!r}", name=name))
    assert "nextbest itself failed: ModuleNotFoundError" in result.stderr


def test_a_fault_of_our_own_is_named_without_a_traceback():
    result = failing(KeyError("x"))
    assert result.exit_code == 1
    assert "KeyError" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_fault_of_our_own_shows_its_traceback_on_demand(monkeypatch):
    monkeypatch.setenv("NEXTBEST_TRACEBACK", "1")
    assert isinstance(failing(KeyError("x")).exception, KeyError)


def test_control_c_exits_130():
    assert failing(KeyboardInterrupt()).exit_code == 130


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m decision.cli serve --help | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        cwd=repository(),
    )
    assert done.stderr == ""
