"""The files of the policies that decided, kept beside their decisions, by version."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from decision.archive.journal import files
from decision.archive.layout import POLICIES
from decision.core.candidates import CandidateInfo
from decision.core.definition import PolicyDefinition
from decision.core.policy_builder import compile_policy
from decision.files import read_regular, write_whole
from decision.rulebook.reader import load_files

_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


def policy_path(archive: Path, version: str) -> Path:
    """The file with the rule files of a policy."""
    return archive / POLICIES / f"{version}.json"


def write_policy(archive: Path, version: str, files: dict[str, str]) -> None:
    """Keeps the files of a policy, unless they are there already."""
    path = policy_path(archive, version)
    if not path.exists():
        write_whole(path, msgspec.json.format(msgspec.json.encode(files)))


def read_policy(archive: Path, version: str) -> PolicyDefinition | None:
    """The policy of a version, checked; None if the archive lacks it or it cannot be read."""
    try:
        texts = _decode(read_regular(policy_path(archive, version)))
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    definition = load_files(texts, again=True).definition
    return definition if isinstance(definition, PolicyDefinition) else None


def candidates_of(definition: PolicyDefinition | None) -> Sequence[CandidateInfo] | None:
    """A policy's candidates, in the order of its masks; None if there is no policy."""
    return None if definition is None else compile_policy(definition).candidates


def newest_version(archive: Path) -> str | None:
    """The version of the policy that made the last archived decision; None where there is none.

    Raises:
        ArchiveError: the archive lacks a file.
    """
    import pyarrow.parquet as pq

    for path in reversed(files(archive, "decisions")):
        with suppress(FileNotFoundError), pq.ParquetFile(path) as file:
            last = file.read_row_group(file.num_row_groups - 1, ["policy_version"]).column(0)
            version: str | None = last[-1].as_py() if len(last) else None
            return version
    return None
