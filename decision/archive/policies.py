"""The files of the policies that decided, kept beside their decisions, by version."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from decision.archive.layout import POLICIES
from decision.archive.location import parquet_file
from decision.archive.tables import files
from decision.core.candidates import CandidateInfo
from decision.core.definition import PolicyDefinition
from decision.core.policy_builder import compile_policy
from decision.core.ports import BlobStore
from decision.files import read_regular, write_whole
from decision.rulebook.reader import load_files
from decision.store.damage import decoded

_decode: Final = msgspec.json.Decoder(dict[str, str]).decode
_files: Final = msgspec.msgpack.Decoder(dict[str, str]).decode


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


class KnownPolicies:
    """The policies that decided: their files are kept in an archive, and their candidates known."""

    def __init__(self, archive: Path, store: BlobStore) -> None:
        self._archive = archive
        self._store = store
        self._candidates: dict[str, Sequence[CandidateInfo] | None] = {}

    def candidates(self, version: str) -> Sequence[CandidateInfo] | None:
        """The candidates of a policy that was learned; None if nobody has its files."""
        return self._candidates.get(version)

    async def keep(self, versions: Collection[str]) -> None:
        """Learns those that are new."""
        for version in set(versions) - self._candidates.keys():
            await self.learn(version)

    async def learn(self, version: str) -> None:
        """Keeps the files of a policy that the store has, and learns its candidates."""
        blob = await self._store.get_blob(f"policy:{version}")
        if blob is not None:
            write_policy(self._archive, version, decoded(f"the policy {version}", blob, _files))
        self._candidates[version] = candidates_of(read_policy(self._archive, version))


def newest_version(archive: Path) -> str | None:
    """The version of the policy that made the last archived decision; None where there is none.

    Raises:
        ArchiveError: the archive lacks a file.
    """

    latest: list[tuple[Any, str]] = []
    paths = files(archive, "decisions")
    for path in (path for path in paths if path.parent == paths[-1].parent):
        found = parquet_file(path).read(["decided_at", "policy_version"])
        last = found.group_by("policy_version").aggregate([("decided_at", "max")])
        latest += [(row["decided_at_max"], row["policy_version"]) for row in last.to_pylist()]
    return max(latest)[1] if latest else None
