"""The TypeScript client, compiled, where Node and what it needs are here."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "typescript"
MISSING = "Node, or what `make typescript` installs, is missing: the TypeScript client is not tried"


@functools.cache
def node() -> str | None:
    """The Node that can run it, once `make typescript` has installed the compiler."""
    compiler = FOLDER / "node_modules" / ".bin" / "tsc"
    return shutil.which("node") if compiler.exists() else None


def compiled(out: Path) -> Path:
    """The package with its tests, compiled into a folder, which has `src` and `test` then."""
    command = [FOLDER / "node_modules" / ".bin" / "tsc", "--noEmit", "false", "--outDir", out]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (out / "package.json").write_text('{"type": "module"}', "utf-8")
    return out


@functools.cache
def installed() -> Path:
    """A folder with `node_modules/nextbest-client`, as after `npm install`; for this process."""
    home = Path(tempfile.mkdtemp(prefix="nextbest-client-"))
    package = home / "node_modules" / "nextbest-client"
    package.mkdir(parents=True)
    shutil.copy(FOLDER / "package.json", package)
    command = [
        *(FOLDER / "node_modules" / ".bin" / "tsc", "-p", "tsconfig.build.json"),
        *("--outDir", package / "dist"),
    ]
    subprocess.run(command, cwd=FOLDER, capture_output=True, check=True)
    return home
