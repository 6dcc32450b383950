"""Object stores, by object_store: the library that deltalake has in it too.

So the settings are the same for tables and for what lies beside them, and so is what is said where
a store gives no answer. fsspec is told to use it, and with that `UPath` and DuckDB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from decision.archive.errors import ArchiveUnavailable

SCHEMES: Final = ("s3", "gs", "az", "abfss")
"""The stores that can be named by a URL."""

RETRIES: Final = 6
RETRY_SECONDS: Final = 60
"""How often, and for how long at most, a request is made again that a store cannot answer now."""

_AZURE: Final = {
    "bucket": "container",
    "keys": "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
    "endpoint": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ENDPOINT if it is set, and the network",
    "http": "AZURE_ALLOW_HTTP",
    "prefix": "AZURE_",
}
_WORDS: Final = {
    "s3": {
        "bucket": "bucket",
        "keys": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "endpoint": "AWS_ENDPOINT_URL and AWS_REGION",
        "http": "AWS_ALLOW_HTTP",
        "prefix": "AWS_",
    },
    "gs": {
        "bucket": "bucket",
        "keys": "GOOGLE_APPLICATION_CREDENTIALS",
        "endpoint": "the network",
        "http": "GOOGLE_ALLOW_HTTP",
        "prefix": "GOOGLE_",
    },
    "az": _AZURE,
    "abfss": _AZURE,
}
"""What each store calls what problems are about."""


@contextmanager
def reached(place: object) -> Iterator[None]:
    """Says what to do where an object store gives no answer, or refuses.

    Raises:
        ArchiveUnavailable: see above.
    """
    url = str(place)
    if urlsplit(url).scheme not in SCHEMES:
        yield
        return
    from obstore.exceptions import BaseError

    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        if re.search(_NO_BUCKET, str(error)):
            raise unavailable(url, error) from error
        raise
    except (BaseError, OSError) as error:
        raise unavailable(url, error) from error


def unavailable(url: str, error: Exception) -> ArchiveUnavailable:
    """The error for an object store that gives no answer, or refuses."""
    words = _WORDS[urlsplit(url).scheme]
    said = str(error).partition("Debug source")[0]
    said = " ".join(re.sub(r"\x1b\[[0-9;]*m|↳", " ", said).split())
    for pattern, problem in _PROBLEMS:
        if re.search(pattern, said, re.IGNORECASE):
            reason = problem.format(
                **words, name=urlsplit(url).netloc.partition("@")[0], tries=RETRIES + 1
            )
            return ArchiveUnavailable(f"{url}: {reason} ({_short(said)})")
    return ArchiveUnavailable(f"{url} cannot be used: {_short(said)}; check {words['endpoint']}")


_NO_BUCKET: Final = r"NoSuchBucket|bucket does not exist|ContainerNotFound"
_METADATA: Final = r"169\.254\.169\.254|metadata\.google"
"""Whom a machine asks that has no keys of its own."""

_PROBLEMS: Final = (
    (
        _NO_BUCKET,
        "there is no {bucket} {name}; make it, or give another URL",
    ),
    (
        r"InvalidBucketName|InvalidResourceName",
        "no {bucket} can have the name {name}; give another URL",
    ),
    (
        rf"{_METADATA}|no credentials|MissingCredentials|Account must be specified",
        "there are no credentials; set {keys}",
    ),
    (
        r"Invalid Access Key|decode service account|open service account|read service account",
        "the credentials cannot be read; check {keys}",
    ),
    (
        r"Generic Config error",
        "a variable of the store has a value that it cannot have; check those that begin with "
        "{prefix}",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|\b401\b|Unauthenticated",
        "the store refuses the credentials; check {keys}",
    ),
    (
        r"AccessDenied|Forbidden|\b403\b|PermissionDenied",
        "the store refuses access; check {keys}, and let them list, read, write and delete there",
    ),
    (
        r"URL scheme is not allowed|HttpsOnly|HTTP error: builder error",
        "the endpoint is http://, which is not encrypted; set {http}=true where it may be",
    ),
    (
        r"SlowDown|ServiceUnavailable|\b50[0234]\b|\b429\b",
        "the store is busy or has a fault, and did not answer {tries} tries; run it again",
    ),
    (
        r"connection refused|tcp connect|dns error|error sending request|error sen|timed out",
        "the store cannot be reached; check {endpoint}",
    ),
)
"""Words of what the library says → what is wrong, and what to do. The first found counts."""


def _short(said: str) -> str:
    return said if len(said) <= 300 else f"{said[:300]}…"


@cache
def register() -> None:
    """Makes fsspec, and with it `UPath` and DuckDB, use object_store."""
    import fsspec
    from obstore import fsspec as adapter

    file_of: Any = adapter.BufferedFile
    store: Any = adapter.FsspecStore

    class _File(file_of):  # type: ignore[misc]
        def read(self, length: int = -1) -> bytes:
            with reached(self.fs.unstrip_protocol(self.path)):
                data: bytes = super().read(length)
                return data

    class _Store(store):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            retries = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
            super().__init__(self.protocol, *args, retry_config=retries, **options)

        def store_of(self, path: str) -> tuple[Any, str]:
            """The store of a path, and the name of the object there."""
            bucket, name = self._split_path(path)
            return self._construct_store(bucket), name

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            if "r" in mode:  # here, so that a file which is not there leaves nothing half open
                options["size"] = self.info(path)["size"]
            return _File(self, path, mode, **options)

    for name in ("_rm_file", "_pipe_file", "_cat_file", "_info", "_ls"):
        setattr(_Store, name, _saying(getattr(store, name)))
    for scheme in SCHEMES:
        own = type(f"Store_{scheme}", (_Store,), {"protocol": scheme})
        fsspec.register_implementation(scheme, own, clobber=True)


def _saying(method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(self: Any, path: str, *args: Any, **options: Any) -> Any:
        with reached(self.unstrip_protocol(path)):
            return await method(self, path, *args, **options)

    return call
