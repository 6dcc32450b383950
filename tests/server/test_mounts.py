"""A keys file that is mounted alone is told from one in a mounted folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from decision.server.keys.mounts import is_mounted_alone

_LOOK = "import sys; from decision.server.keys.mounts import is_mounted_alone as f; print(f(sys.argv[1]))"
_MOUNT = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def mounted(source: Path, target: Path, *words: str) -> str:
    """What a command prints where one path is mounted on another; skips where we may not."""
    command = ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", str(source), str(target)]
    if os.geteuid() or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("mounting needs root")
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["keys.yaml", "the keys.yaml"])
def test_a_file_that_is_a_mount_point_is_noticed(tmp_path: Path, name: str) -> None:
    (tmp_path / "k.yaml").write_text("[]")
    target = tmp_path / name
    target.write_text("")
    look = [sys.executable, "-c", _LOOK, str(target)]
    assert mounted(tmp_path / "k.yaml", target, *look) == "True"
    assert not is_mounted_alone(target) and not is_mounted_alone(tmp_path / "none")


def test_through_a_mounted_folder_a_revoked_key_is_gone(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    cli = [sys.executable, "-m", "decision.cli"]
    file = str(outside / "keys.yaml")
    for name in ("a", "b"):
        create = [*cli, "key", "create", name, "--scopes", "decide", "--file", file]
        subprocess.run(create, check=True, capture_output=True)
    revoke = " ".join([*cli, "key", "revoke", "a", "--file", file])
    script = f"{revoke} >&2; cat {inside / 'keys.yaml'}"
    said = mounted(outside, inside, "sh", "-ec", script)
    assert '"b"' in said and '"a"' not in said
    look = [sys.executable, "-c", _LOOK, str(inside / "keys.yaml")]
    assert mounted(outside, inside, *look) == "False"
