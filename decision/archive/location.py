"""Where an archive is: a folder of this machine, or a folder of an object store, named by a URL.

`location` gives a `Path`, or for `s3://bucket/folder`, `gs://…`, `az://…` and `abfss://…` a
`UPath`, which has the same methods: one is written for where either may come. `Location` is the
name of both. Nothing in an object store is moved, locked or changed in place: an object is written
whole. What differs is here, in `files` and in `folder`.

Requests are made by object_store, the library that deltalake has in it, so the settings are the
same for tables and for what lies beside them: the environment variables of the store.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from decision.archive.errors import ArchiveError
from decision.archive.object_store import (
    RETRIES,
    RETRY_SECONDS,
    SCHEMES,
    reached,
    register,
    unavailable,
)
from decision.files import create_whole, is_remote
from decision.installation import require

Location = Path
"""A `Path`, or a `UPath`; see above."""


def location(text: str | Path) -> Location:
    """The place that a path or a URL names.

    Raises:
        ArchiveError: the URL is of no store that can be used, lacks its bucket, or has a name that
            the libraries would read in two ways.
        PackagesMissing: those that reach object stores.

    >>> location("file:///srv/archive"), location("archive") / "decisions"
    (PosixPath('/srv/archive'), PosixPath('archive/decisions'))
    """
    url = str(text)
    found = _URL.match(url)
    scheme = found[1].lower() if found is not None else ""
    if found is None or not (found[2] or scheme in SCHEMES) or isinstance(text, Path):
        return _on_disk(Path(text))
    if scheme == "file":
        return _on_disk(Path(unquote(urlsplit(url).path)))
    if scheme not in SCHEMES:
        known = ", ".join(f"{one}://" for one in SCHEMES)
        raise ArchiveError(
            f"{url}: an archive is in a folder, or at a URL that begins with {known}"
        )
    bucket, *names = url[found.end() :].rstrip("/").split("/")
    if not found[2] or not bucket:
        raise ArchiveError(f"{url} names no bucket; write {scheme}://BUCKET/FOLDER")
    for name in (bucket, *names):
        if name in ("", ".", "..") or _UNSAFE.search(name) or (name is bucket and ":" in name):
            raise ArchiveError(
                f"{url}: {name!r} can be no part of it; write {scheme}://BUCKET/FOLDER, with plain "
                f"names of folders, in which there is none of {_UNSAFE_ONES}"
            )
    require(f"an archive at {scheme}://", "deltalake", "duckdb", "obstore", "pyarrow", "upath")
    from upath import UPath

    register()
    place: Location = cast("Any", UPath("/".join((f"{scheme}://{bucket}", *names))))
    return place


_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_UNSAFE_ONES: Final = r'\ { } ^ % ` [ ] " < > ~ # | * ?'
_UNSAFE: Final = re.compile(rf"[\x00-\x1f\x7f{re.escape(_UNSAFE_ONES.replace(' ', ''))}]")
"""What object_store writes in another way where it parses a URL than where it is given a path: the
log of a table would be in one folder and its files in another."""


def _on_disk(path: Path) -> Path:
    if (found := re.search("%[0-9A-Fa-f]{2}", str(path.absolute()))) is not None:
        raise ArchiveError(
            f"{path}: deltalake reads {found[0]} in a path as one letter, and would look "
            "elsewhere; choose a folder without it"
        )
    return path


def present(paths: Iterable[Path]) -> list[Path]:
    """The files, by date, but for those of a date whose folder somebody has removed.

    In an object store there are no folders: there the table alone says what there is.
    """
    return sorted(path for path in paths if is_remote(path) or path.parent.exists())


def storage_options(path: Path) -> dict[str, str] | None:
    """What deltalake is told beside the environment, about a table at a place."""
    if not is_remote(path):
        return None
    return {"max_retries": str(RETRIES), "retry_timeout": f"{RETRY_SECONDS}s"}


# ------------------------------------------------------------------------ reading Parquet files


def parquet_file(path: Path, **options: Any) -> Any:
    """A Parquet file, opened with PyArrow."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path.open("rb") if is_remote(path) else path, **options)


def parquet_dataset(paths: Sequence[Path], schema: Any) -> Any:
    """Parquet files as a dataset of PyArrow, with the columns of a schema."""
    import pyarrow.dataset as ds

    if paths and is_remote(paths[0]):
        names = [_path_in_store(path) for path in paths]
        return ds.dataset(names, schema, format="parquet", filesystem=_file_system(paths[0]))
    return ds.dataset([str(path) for path in paths], schema, format="parquet")


_registering: Final = Lock()


def let_read(connection: Any, paths: Sequence[Path]) -> None:
    """Lets a connection to DuckDB read files of an object store, which it cannot by itself."""
    if paths and is_remote(paths[0]):
        system = _file_system(paths[0])
        with _registering:  # another connection to the same database has the same ones
            if not connection.filesystem_is_registered(system.protocol):
                connection.register_filesystem(system)


def tag_of(path: Path) -> object:
    """What an object store says of an object, which differs if another one takes its place.

    Raises:
        FileNotFoundError: there is none.
    """
    return _file_system(path).info(_path_in_store(path))["e_tag"]


def _path_in_store(path: Any) -> str:
    found: str = path.path
    return found


def _file_system(path: Any) -> Any:
    return path.fs


def check_store(place: Path) -> None:
    """Refuses an object store that cannot be reached, or in which two could commit one version.

    An object is written that may only be written where there is none; of two such writes the second
    must be refused, as commits of tables rely on it.

    Raises:
        ArchiveUnavailable, ArchiveError: see above.
    """
    if not is_remote(place):
        return
    for _ in range(2):
        try:
            create(place / _PROBE, b"")
        except FileExistsError:
            return
    raise ArchiveError(
        f"{place}: the store writes over what is there although it was told not to (the header "
        "If-None-Match), so two archivers could undo each other's commits; use a store that has "
        "conditional writes, such as Amazon S3, Google Cloud Storage, Azure, or a current MinIO"
    )


def create(path: Path, data: bytes) -> None:
    """Writes a file, of a name that no other has.

    Raises:
        FileExistsError: there is one of this name; it is as it was.
        OSError, ArchiveUnavailable: it cannot be written.
    """
    if not is_remote(path):
        create_whole(path, data)
        return
    from obstore import put
    from obstore.exceptions import AlreadyExistsError

    place: Any = path
    with reached(path):
        store, name = place.fs.store_of(place.path)
        try:
            put(store, name, data, mode="create")
        except AlreadyExistsError:
            raise FileExistsError(errno.EEXIST, "it is there already", str(path)) from None
        except FileNotFoundError as error:  # the place of all objects, not this one
            raise unavailable(str(path), error) from error


_PROBE: Final = "_locks/conditional-write"
