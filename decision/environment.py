"""Who runs this process, and the environment of children that run what others wrote."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Final

_SECRET: Final = ("NEXTBEST_REDIS_URL", "NEXTBEST_API_KEY")


def without_secrets() -> dict[str, str]:
    """This environment without passwords and keys, in which this package is found.

    For children that try models and rules: they need neither.
    """
    root = str(Path(__file__).parents[1])
    search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    kept = {name: value for name, value in os.environ.items() if name not in _SECRET}
    return {**kept, "PYTHONPATH": search}


def login_name() -> str:
    """Who runs a command, for histories."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the user may have no name
        return f"uid {os.getuid()}"
