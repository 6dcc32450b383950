"""What Redis says when it refuses a command: its code, its words, and what to do."""

from __future__ import annotations

import copy
import pickle

import pytest

from decision.store.refusals import CODES, Refused

SHA = "e7bb5a20ba962ec7a0e487e17e8e96f25f71245c"
IN_6 = f"ERR Error running script (call to f_{SHA}): @user_script:1: "
IN_7 = f" script: {SHA}, on @user_script:1."
OOM = "OOM command not allowed when used memory > 'maxmemory'."
NO_RIGHT = "NOPERM this user has no permissions to run"
USER = "The user executing the script can't run this command or subcommand"


@pytest.mark.parametrize(
    ("said", "code", "reason", "fix"),
    [
        (OOM, "OOM", "command not allowed when", "memory"),
        (f"{IN_6}@user_script: 1: -{OOM}", "OOM", "command not allowed when", "memory"),
        (OOM + IN_7, "OOM", "command not allowed when", "memory"),
        (f"{IN_6}@user_script: 1: {USER}", "NOPERM", "The user", "allow"),
        (f"{IN_6}user_script:21: boom", "ERR", "boom", ""),
        (f"ERR {USER}{IN_7}", "NOPERM", "The user", "allow"),
        (f"{NO_RIGHT} the 'config' command", "NOPERM", "this user", "give its user +config"),
        (f"{NO_RIGHT} the 'XDEL' command or its subcommand", "NOPERM", "", "give its user +xdel"),
        (f"{NO_RIGHT} the 'xgroup|create' command", "NOPERM", "", "user +xgroup|create"),
        ("NOPERM No permissions to access a key", "NOPERM", "No perm", "NEXTBEST_KEY_PREFIX"),
        (f"{IN_6}WRONGTYPE Operation against a key", "WRONGTYPE", "Operation", "prefix"),
        ("ERR max number of clients reached", "MAXCLIENTS", "max number", "maxclients"),
        ("ERR AUTH <password> called without any password configured", "WRONGPASS", "AUTH", "URL"),
        ("NOAUTH Authentication required.", "NOAUTH", "Authentication required.", "URL"),
        ("MASTERDOWN Link with MASTER is down", "MASTERDOWN", "Link", "primary"),
        ("ERR DB index is out of range", "NODATABASE", "DB index", "URL"),
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", "Not enough", "replicas"),
        ("UNKILLABLE Sorry the script already", "UNKILLABLE", "Sorry", "wait"),
        ("EXECABORT Transaction discarded", "EXECABORT", "Transaction discarded", ""),
        ("NEWCODE of a later Redis", "ERR", "NEWCODE of a later Redis", ""),
        ("", "ERR", "", ""),
    ],
)
def test_an_error_is_known_by_a_code_from_a_fixed_list_also_inside_a_script(
    said: str, code: str, reason: str, fix: str
) -> None:
    error = Refused("here:1", said)
    assert error.code == code and code in CODES
    assert error.reason.startswith(reason) and "user_script" not in error.reason
    assert fix in error.fix and "here:1" not in error.reason + error.fix
    assert str(error).startswith("Redis at here:1 answered: ") and error.fix in str(error)
    assert "user_script" not in str(error) and SHA not in str(error)


def test_the_arguments_of_an_unknown_command_are_not_repeated() -> None:
    error = Refused("h", "ERR unknown command 'AUTH', with args beginning with: 'li' 'secret' ")
    assert error.code == "UNKNOWN" and error.reason == "unknown command 'AUTH'"
    assert "secret" not in str(error)


def test_a_refusal_is_copied_and_pickled_with_all_that_it_says() -> None:
    error = Refused("h", OOM)
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is Refused and str(other) == str(error)
        assert vars(other) == vars(error) and other.__traceback__ is None
