"""Does what a page says, from top to bottom, as a reader would at their desk.

What a block is for:

- `sh` is run by bash, `python` by this interpreter (the blocks of a page share their names),
  `ts` by Node; each must end well.
- Any block under a file name is written to that file first.
- `text` and `json` right after one that was run show what it printed: see `same_text` and
  `same_json`.

A note above a block, as an HTML comment, changes that:

- `not run: REASON`: it is not run.
- `until stopped`: the command serves; it is started, waited for, and stopped.
- `exit 1`: the command is to end with that exit code.
- `yours differs`: only the form of the JSON is compared, not its values.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.clients import typescript
from tests.docs.pages import Block
from tests.docs.shop import Shop, environment, wait_until_ready
from tests.docs.typescript import without_types
from tests.ports import free_port

SHOWN_AS = "http://127.0.0.1:8000"
_SECONDS = 280


class Reader:
    """Somebody who works through one page, in a folder of their own."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.folder = shop.desk(folder)
        self.url = shop.url
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self.printed: str | None = None
        self.skipped: list[str] = []

    def does(self, block: Block) -> None:
        if block.note.startswith("not run: "):
            self.printed = None
            return
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        do = {"sh": self.shell, "python": self.python, "ts": self.typescript}.get(block.language)
        if do is not None:
            do(block)
        elif block.language in ("text", "json") and not block.file and self.printed is not None:
            self.compare(block)
            self.printed = None

    def shell(self, block: Block) -> None:
        code = self.here(block.text)
        if block.note == "until stopped":
            self.serve(block, code)
            return
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        wanted = int(block.note.removeprefix("exit ")) if block.note.startswith("exit ") else 0
        assert done.returncode == wanted, (
            f"{block.place}: ended with {done.returncode}:\n{done.stdout}"
        )
        assert "Traceback" not in done.stdout, f"{block.place}:\n{done.stdout}"
        self.printed = done.stdout

    def serve(self, block: Block, code: str) -> None:
        port = free_port()
        with (self.folder / "served.log").open("w+b") as log:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", code],
                cwd=self.folder,
                env={**environment(), "NEXTBEST_PORT": str(port)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                if "nextbest serve" in code:
                    wait_until_ready(f"http://127.0.0.1:{port}", process, _SECONDS)
                else:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(3)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                code_of_end = process.wait(40)
        said = (self.folder / "served.log").read_text("utf-8", "replace")
        assert code_of_end in (0, -signal.SIGTERM), f"{block.place}: {code_of_end}\n{said}"
        assert "Traceback" not in said and "rror:" not in said, f"{block.place}:\n{said}"
        self.printed = None

    def python(self, block: Block) -> None:
        if not self.has_imports(block):
            return
        code = compile("\n" * block.line + self.here(block.text), block.page, "exec")
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            exec(code, self.names)
        self.printed = out.getvalue()

    def has_imports(self, block: Block) -> bool:
        """False, and the block is left out, where a library is not installed here."""
        from importlib.util import find_spec

        for name in re.findall(r"^(?:import|from) (\w+)", block.text, re.MULTILINE):
            if find_spec(name) is None:
                self.skipped.append(f"{block.place}: {name} is not installed")
                self.printed = None
                return False
        return True

    def typescript(self, block: Block) -> None:
        node = shutil.which("node")
        if node is None:
            self.skipped.append(f"{block.place}: there is no Node")
            return
        if "nextbest-client" in block.text:
            if typescript.node() is None:
                self.skipped.append(f"{block.place}: {typescript.MISSING}")
                self.printed = None
                return
            packages = self.folder / "node_modules"
            if not packages.exists():
                packages.symlink_to(typescript.installed() / "node_modules")
        script = self.folder / "page.mjs"
        script.write_text(without_types(self.here(block.text)), "utf-8")
        done = subprocess.run(
            [node, script],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}:\n{done.stdout}{done.stderr}"
        self.printed = done.stdout

    def here(self, code: str) -> str:
        return code.replace(SHOWN_AS, self.url)

    def compare(self, block: Block) -> None:
        assert self.printed is not None
        printed = self.printed.replace(self.url, SHOWN_AS)
        if block.language == "text":
            assert same_text(block.text, printed), f"{block.place}: printed was\n{printed}"
            return
        form_only = block.note == "yours differs"
        if (begin := printed.find("\n{\n")) >= 0:
            printed = printed[begin:]  # before it a command says on stderr what it does
        problem = same_json(json.loads(block.text), json.loads(printed), form_only)
        assert problem is None, f"{block.place}: {problem}; printed was\n{printed}"


_VARYING = re.compile(
    r"\b01[0-9A-HJKMNP-TV-Z]{24}\b"  # ids
    r"|\b\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+\d\d:\d\d)"  # times
    r"|\b(?:[0-9a-f]{12}|[0-9a-f]{16})\b"  # versions, requests
    r"|\d+(?:[.,]\d+)*"  # figures
)


def _plain(text: str) -> str:
    lines = (re.sub(r"\s+", " ", _VARYING.sub("0", line)).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def same_text(shown: str, printed: str) -> bool:
    """Whether this was printed, figures and blanks aside; `…` in what is shown is anything."""
    parts = re.split(r"…", _plain(shown))
    pattern = ".*".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, _plain(printed), re.DOTALL) is not None


def same_json(shown: Any, printed: Any, form_only: bool, path: str = "") -> str | None:
    """What differs but for figures, times and ids; only in form, where that is asked."""
    if isinstance(shown, dict) and isinstance(printed, dict):
        if (not form_only or not path) and shown.keys() != printed.keys():
            return f"{path or 'the object'} has {', '.join(printed)}"
        for key in shown.keys() & printed.keys():
            if problem := same_json(shown[key], printed[key], form_only, f"{path}.{key}"):
                return problem
        return None
    if form_only:
        return None
    if isinstance(shown, list) and isinstance(printed, list):
        if len(shown) != len(printed):
            return f"{path} has {len(printed)} entries"
        for index, pair in enumerate(zip(shown, printed, strict=True)):
            if problem := same_json(*pair, form_only, f"{path}[{index}]"):
                return problem
        return None
    if isinstance(shown, str) and isinstance(printed, str):
        same = _plain(shown) == _plain(printed)
    elif isinstance(shown, int | float) and not isinstance(shown, bool):
        same = isinstance(printed, int | float) and not isinstance(printed, bool)
    else:
        same = shown == printed
    return None if same else f"{path} is {printed!r}, shown is {shown!r}"
