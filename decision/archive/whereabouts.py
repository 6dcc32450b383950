"""Which files of an archive may have rows of a customer: so a look at one opens few of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from decision.archive.errors import UnreadableFile
from decision.archive.forgetting import FOLDER
from decision.archive.location import parquet_file
from decision.archive.summaries import FileKey, Job, Summaries, keys_of

DATASETS: Final = ("decisions", "events", "changes", "journeys")
_KIND: Final = "customers 1"

Digests = NDArray[np.uint64]


class Whereabouts:
    """The digests of the customers of each file, kept beside the archive and in memory. It can be
    used from several threads.

    >>> from tempfile import mkdtemp
    >>> Whereabouts(Path(mkdtemp())).files("events", ["ann"])
    []
    """

    def __init__(self, archive: Path, folder: Path | None = None) -> None:
        self._archive = archive
        kept = archive / FOLDER if folder is None else folder
        self._summaries = {name: Summaries(kept, name, _KIND) for name in DATASETS}
        self._known: dict[str, dict[FileKey, Digests]] = {name: {} for name in DATASETS}
        self._lock = Lock()

    def files(self, dataset: str, customer_ids: Sequence[str]) -> list[Path]:
        """The files of a dataset that may have rows of these ids; all that have some are in it.

        Raises:
            UnreadableFile: a file is damaged; it is named.
            ArchiveError: a file is missing, or the journal is damaged.
        """
        wanted = _digests(customer_ids)
        with self._lock:
            keys, known = keys_of(self._archive, dataset), self._known[dataset]
            found = {key: known[key] if key in known else self._read(dataset, key) for key in keys}
            if len(found) != len(known) or any(key not in known for key in keys):
                self._summaries[dataset].tidy({key.name for key in keys})
            self._known[dataset] = found
        return [key.path for key, own in found.items() if _any(own, wanted)]

    def jobs(self) -> list[Job]:
        """The summaries that are still to be made; the newest files first.

        Raises:
            ArchiveError: the archive lacks a file.
        """
        return [
            Job(kept, key, lambda key=key: _made(key.path))  # type: ignore[misc]
            for name, kept in self._summaries.items()
            for key in reversed(keys_of(self._archive, name))
            if not kept.has(key)
        ]

    def _read(self, dataset: str, key: FileKey) -> Digests:
        table = self._summaries[dataset].kept(key)
        if table is None:
            table = _made(key.path)
            self._summaries[dataset].keep(key, table)
        found: Digests = table.column("digest").to_numpy()
        return found


def _made(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        with parquet_file(path) as file:
            ids = pc.unique(file.read(["customer_id"]).column(0).cast(pa.string()))
    except pa.ArrowException as error:
        raise UnreadableFile(f"{path} cannot be read: {error}") from error
    return pa.table({"digest": np.sort(_digests(one or "" for one in ids.to_pylist()))})


def _digests(ids: Iterable[str]) -> Digests:
    parts = [blake2b(one.encode(errors="surrogatepass"), digest_size=8).digest() for one in ids]
    return np.frombuffer(b"".join(parts), np.uint64)


def _any(own: Digests, wanted: Digests) -> bool:
    places = np.minimum(np.searchsorted(own, wanted), max(0, len(own) - 1))
    return bool(len(own)) and bool((own[places] == wanted).any())
