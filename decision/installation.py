"""What comes with this installation besides code, and how to add the packages of an extra."""

from __future__ import annotations

import os
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from decision.core.errors import FileError, NextbestError

_PACKAGE: Final = Path(__file__).resolve().parent

STARTER: Final = _PACKAGE / "_starter"
"""What `nextbest init` copies."""

EXTRAS: Final = {
    **dict.fromkeys(("deltalake", "duckdb", "matplotlib", "pyarrow", "resvg_py"), "train"),
    **dict.fromkeys(("dask", "distributed", "pandas", "sklearn"), "dask"),
    "opentelemetry": "otel",
    "aiokafka": "kafka",
}
"""Module → the extra that brings it."""


class PackagesMissing(NextbestError):
    """Packages of an extra are not installed; the text has the command that installs them."""


def sample(name: str) -> Path:
    """A file or folder of the sample, as `rules`: of the wheel, or of the checkout.

    Raises:
        FileError: it is in neither.
    """
    places = (_PACKAGE / "_sample" / name, _PACKAGE.parent / name)
    for place in places:
        if place.exists():
            return place
    raise FileError(f"{places[0]}: the sample is missing; install nextbest again")


def in_image() -> bool:
    """Whether this runs in the project's container image, which says so in its environment."""
    return "_NEXTBEST_IMAGE" in os.environ


def require(what: str, *modules: str, extra: str = "archive") -> None:
    """Refuses what needs modules that are not installed, before it has any effect.

    `what` is the subject of the message; without modules, those that read and write archives.

    Raises:
        PackagesMissing: one of them is missing; all that are missing are named.
    """
    missing = [
        name for name in modules or ("deltalake", "duckdb", "pyarrow") if find_spec(name) is None
    ]
    if missing:
        named = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        raise PackagesMissing(install_hint(f"{what} needs {named}", extra))


def missing_packages(what: str) -> str:
    """What `require` says where archives cannot be read or written; nothing where they can."""
    try:
        require(what)
    except PackagesMissing as error:
        return str(error)
    return ""


def install_hint(problem: str, extra: str = "train") -> str:
    """A problem, and the command that installs the packages of an extra into this Python.

    The packages are given by name: this works in a checkout and where a wheel was installed from a
    file, and a package index needs to know nothing of nextbest.
    """
    from importlib.metadata import PackageNotFoundError, requires  # slow to import

    marker = re.compile(rf"extra == ['\"]{extra}['\"]")
    try:
        named = [one.partition(";")[0] for one in requires("nextbest") or () if marker.search(one)]
    except PackageNotFoundError:  # a checkout that is on the path, but not installed
        named = ["-e", f"{_PACKAGE.parent}[{extra}]"]
    if find_spec("pip") is None:
        tool = ["uv", "pip", "install", "--python", sys.executable]
    else:
        tool = [sys.executable, "-m", "pip", "install"]
    return f"{problem}; install what is missing with: {shlex.join([*tool, *named])}"
