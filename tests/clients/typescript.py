"""The TypeScript client, compiled, where Node and what it needs are here."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "typescript"
OLDEST = (20, 3)
MISSING = (
    "Node 20.3 or later, or what `make typescript` installs, is missing: "
    "the TypeScript client is not tried"
)
_COMPILER = FOLDER / "node_modules" / ".bin" / "tsc"


@functools.cache
def node() -> str | None:
    """The Node that can run it, once `make typescript` has installed the compiler."""
    found = shutil.which("node") if _COMPILER.exists() else None
    if found is None:
        return None
    shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = tuple(int(part) for part in shown.stdout.strip().lstrip("v").split(".")[:2])
    return found if version >= OLDEST else None


@functools.cache
def installed() -> Path:
    """A folder with `node_modules/nextbest-client`, as after `npm install`, and `test/`.

    It is made once for a process. Types are left unchecked: `make typescript` checks them.
    """
    home = Path(tempfile.mkdtemp(prefix="nextbest-client-"))
    command = [_COMPILER, "--noCheck", "--noEmit", "false", "--declaration", "--outDir", home]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    package = home / "node_modules" / "nextbest-client"
    shutil.copytree(home / "src", package / "dist")
    for name in ("package.json", "README.md", "LICENSE"):
        shutil.copy(FOLDER / name, package)
    (home / "package.json").write_text('{"type": "module"}', "utf-8")
    return home
