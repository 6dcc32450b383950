"""Reports of a check: text for people; JSON, GitHub and SARIF for programs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
import rich_click as click

from decision import __version__
from decision.cli.output import print_json, say
from decision.progress import count_of
from decision.rulebook.diagnostics import CODES, RULE_ENGINE, WARNINGS, Diagnostic

if TYPE_CHECKING:
    from decision.cli.check import CheckResult

_MEANINGS: Final = {**CODES, RULE_ENGINE: "rules that the rule engine cannot run"}
_SARIF: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


# -------------------------------------------------------------------- paths


class RulePaths:
    """Paths of rule files from the current folder, so that a click in the terminal opens them.

    Diagnostics start paths with the name of the rules folder (`rules/cart.yaml`), wherever it is;
    the path of a file `outside` of it stays as it was given.
    """

    def __init__(
        self, rules: str, start: Path | None = None, *, outside: str | None = None
    ) -> None:
        start = start or Path.cwd()
        folder = start / rules
        inside = folder.is_relative_to(start)
        plain = Path(os.path.normpath(folder))
        self.folder = folder
        self._outside = outside
        self.name = (folder.resolve() if folder.name in ("", "..") else folder).name or "rules"
        self.root = folder.relative_to(start).as_posix() if inside else folder.as_posix()
        # In a workflow, paths start at the top of the repository, wherever the step runs.
        tops = [Path(top) for top in (os.environ.get("GITHUB_WORKSPACE"), start) if top]
        top = next((top for top in tops if plain.is_relative_to(top)), None)
        self.program_root = (plain.relative_to(top) if top else plain).as_posix()
        self._cited = re.compile(rf"(?<![\w/.-]){re.escape(self.name)}/(?=\S+?\.yaml:\d)")

    def for_people(self, found: Iterable[Diagnostic]) -> list[Diagnostic]:
        """The diagnostics with paths from the current folder, in their texts as well."""
        return [self._under(self.root, one) for one in found]

    def for_programs(self, found: Iterable[Diagnostic]) -> list[Diagnostic]:
        """The same, but with absolute paths if the folder is outside the current one."""
        return [self._under(self.program_root, one) for one in found]

    def cited(self, text: str) -> str:
        """A text with the paths in it as the user can open them."""
        text = text.replace(str(self.folder), self.root)
        return self._cited.sub("" if self.root == "." else f"{self.root}/", text)

    def _under(self, root: str, found: Diagnostic) -> Diagnostic:
        if found.file == self._outside:
            return found
        _, _, rest = found.file.partition("/")
        return msgspec.structs.replace(
            found,
            file=_join(root, rest),
            message=self.cited(found.message),
            hint=self.cited(found.hint),
        )


def _join(root: str, rest: str) -> str:
    if not rest:
        return root
    return rest if root == "." else f"{root.rstrip('/')}/{rest}"


# --------------------------------------------------------------------- text


def report_text(result: CheckResult) -> None:
    """For people: all that was found; then, if the rules are valid, how much there is."""
    if result.everything:
        shown = as_text(result.paths.for_people(result.everything), colour=colours())
        click.echo(shown + "\n", color=colours())
    if not result.valid:
        say(result.verdict)
        return
    click.echo(f"{result.verdict}:")
    counts = [(size, _COUNTED.get(name, name)) for name, size in result.counts().items() if size]
    click.echo(", ".join(count_of(size, name.removesuffix("s"), name) for size, name in counts))


_COUNTED: Final = {"coupons": "coupon pools", "events": "derived events"}
"""Section → what people are told is in it, where that is not its name."""


def colours(stream: Any = None) -> bool:
    """Whether to print in colour: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    stream = stream or sys.stdout
    dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return bool(stream.isatty() and not dumb)


def as_text(found: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """For people: the place and what is wrong, the line with a caret, how to fix it."""
    return "\n\n".join(_text(one, colour) for one in found)


def _text(found: Diagnostic, colour: bool) -> str:
    text = _visible(found.render())
    if not colour:
        return text
    head = _visible(f"{found.place}: {found.severity}: {found.message} [{found.code}]")
    if not text.startswith(head):
        return text
    shade = "red" if found.severity == "error" else "yellow"
    styled = (
        f"{click.style(_visible(found.place), bold=True)}: "
        f"{click.style(found.severity, fg=shade, bold=True)}: {_visible(found.message)} "
        f"{click.style(f'[{found.code}]', dim=True)}"
    )
    return styled + "\n".join(_line(line, shade) for line in text[len(head) :].split("\n"))


def _line(line: str, shade: str) -> str:
    if re.fullmatch(r"\s*\|\s*\^", line):
        return line[:-1] + click.style("^", fg=shade, bold=True)
    if line.startswith("  hint: "):
        return f"  {click.style('hint:', fg='cyan')}{line[len('  hint:') :]}"
    return line


def _visible(text: str) -> str:
    """Without terminal control characters: a refused file may hold anything."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)


# --------------------------------------------------------------------- JSON


def report_json(result: CheckResult) -> None:
    """Everything as one JSON document."""
    definition = result.definition
    print_json(
        {
            "sound": result.valid,
            "rules": result.rules,
            "policy_version": definition.version if definition else None,
            "counts": result.counts(),
            "rule_engine": result.problem and result.paths.cited(result.problem),
            "diagnostics": [one.as_dict() for one in result.paths.for_people(result.diagnostics)],
        }
    )


# ------------------------------------------------------------------- GitHub


def report_github(result: CheckResult) -> None:
    """Workflow commands on stdout, the verdict on stderr."""
    if result.everything:
        click.echo(as_github(result.paths.for_programs(result.everything)))
    say(result.verdict)


def as_github(found: Iterable[Diagnostic]) -> str:
    """Workflow commands that mark the lines of a pull request.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    return "\n".join(_command(one) for one in found)


def _command(found: Diagnostic) -> str:
    place: dict[str, str | int] = {"file": found.file}
    if found.line:
        place |= {"line": found.line, "col": found.column}
    place["title"] = f"{found.code}: {_MEANINGS.get(found.code, '')}".removesuffix(": ")
    listed = ",".join(f"{key}={_property(str(value))}" for key, value in place.items())
    text = f"{found.message}\nhint: {found.hint}" if found.hint else found.message
    return f"::{found.severity} {listed}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# -------------------------------------------------------------------- SARIF


def report_sarif(result: CheckResult) -> None:
    """One SARIF log."""
    print_json(as_sarif(result.paths.for_programs(result.everything)))


def as_sarif(found: Iterable[Diagnostic]) -> dict[str, Any]:
    """A SARIF 2.1.0 log (https://docs.oasis-open.org/sarif/sarif/v2.1.0/)."""
    ids = list(_MEANINGS)
    return {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "nextbest",
                        "version": __version__,
                        "rules": [_rule(code, meaning) for code, meaning in _MEANINGS.items()],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(one, ids) for one in found],
            }
        ],
    }


def _rule(code: str, meaning: str) -> dict[str, Any]:
    level = "warning" if code in WARNINGS else "error"
    return {
        "id": code,
        "shortDescription": {"text": meaning},
        "defaultConfiguration": {"level": level},
    }


def _result(found: Diagnostic, ids: list[str]) -> dict[str, Any]:
    text = f"{found.message}\n\nhint: {found.hint}" if found.hint else found.message
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(found.file)}}
    if found.line:
        place["region"] = {"startLine": found.line, "startColumn": max(1, found.column)}
    return {
        "ruleId": found.code,
        "ruleIndex": ids.index(found.code),
        "level": found.severity,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }


def _uri(path: str) -> str:
    """A relative path as a relative reference; an absolute one with its scheme."""
    return f"file://{quote(path)}" if path.startswith("/") else quote(path)


REPORTERS: Final[dict[str, Callable[[CheckResult], None]]] = {
    "text": report_text,
    "json": report_json,
    "github": report_github,
    "sarif": report_sarif,
}
"""Format → what prints the result of a check in it."""
