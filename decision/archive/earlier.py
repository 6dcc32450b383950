"""Archives of earlier versions, until they are migrated: files named by a manifest of their own.

`_journal/manifest.json` names every file and, for each partition, the last entry of the log that is
archived. Readers go by it as long as it is there; who writes makes tables first (`migration`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from decision.archive.errors import ArchiveError
from decision.files import is_remote, read_regular

FOLDER: Final = "_journal"
_FORMAT: Final = 1


class Manifest(msgspec.Struct, kw_only=True):
    """The state of such an archive.

    `positions`: partition → last archived entry. `files`: path → number of rows. `added`,
    `removed`: what the latest change had to rename and remove after the manifest was written.
    `known_ids`: day → files of digests. `pseudonymous`: no erasure has the customer's id.
    """

    archive_id: str
    group: str
    format: int = _FORMAT
    positions: dict[int, str] = {}
    files: dict[str, int] = {}
    added: list[str] = []
    removed: list[str] = []
    feature_types: dict[str, str] = {}
    known_ids: dict[str, list[str]] = {}
    pseudonymous: bool = False


_decode = msgspec.json.Decoder(Manifest).decode


def is_there(folder: Path) -> bool:
    """Whether a folder is such an archive. None is in an object store."""
    return not is_remote(folder) and (folder / FOLDER / "manifest.json").exists()


def read(folder: Path) -> Manifest:
    """The manifest.

    Raises:
        ArchiveError: it is damaged, or has another format.
    """
    path = folder / FOLDER / "manifest.json"
    try:
        found = _decode(read_regular(path))
    except (msgspec.MsgspecError, ValueError) as error:
        raise ArchiveError(f"{path} is damaged: {error}; restore it from a backup") from error
    if found.format != _FORMAT:
        raise ArchiveError(
            f"{path} has format {found.format}, this nextbest reads {_FORMAT}; upgrade nextbest"
        )
    return found


def hidden(path: Path) -> Path:
    """The name of a file of which the change was interrupted before it got its own."""
    return path.with_name(f".{path.name}.tmp")


def files(folder: Path, dataset: str) -> list[Path]:
    """The files of a dataset by date.

    Raises:
        ArchiveError: a file is missing, or the manifest is damaged.
    """
    found = []
    for name in sorted(read(folder).files):
        path = folder / name
        if not name.startswith(f"{dataset}/") or not path.parent.exists():
            continue
        path = path if path.exists() else hidden(path)
        if not path.exists():
            raise ArchiveError(
                f"{folder / name} is missing; restore it from a backup, or remove the folder "
                f"{path.parent}"
            )
        found.append(path)
    return found
