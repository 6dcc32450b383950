"""An object store that speaks S3 and Google's XML API, which differ little, and that fails as tests
want it to: a process of its own, since deltalake keeps Python's lock during some of its requests.

It has what object_store asks for: objects with conditional writes, ranges, listing, bulk deletion and
uploads in parts. Each request is handled in one step, as S3 promises.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from urllib.request import urlopen
from xml.etree import ElementTree
from xml.sax.saxutils import escape

BUSY, DROPPED, LOST, SLOW = "busy", "dropped", "lost", "slow"
"""Faults: 503; the connection ends before the request has an effect, and after; a late answer."""

KEY = "nextbest-test"
_CONTROL = "/_control"


class ObjectStore:
    """A running store with one bucket, `bucket`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.object_store"], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a client."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def read(self, name: str) -> bytes:
        """The bytes of an object."""
        with urlopen(f"{self.url}/_object/{quote(name, safe='/=')}", timeout=20) as answer:
            data: bytes = answer.read()
            return data

    def reset(self) -> None:
        """An empty store without faults."""
        self._ask(reset=True)

    def names(self, under: str = "") -> list[str]:
        """The names of its objects, in order."""
        return [name for name in self._ask() if name.startswith(under)]

    def careless(self) -> None:
        """From now on it writes over what is there, whatever it is told."""
        self._ask(careless=True)

    @contextmanager
    def failing(
        self,
        kind: str,
        method: str = "",
        name: str = "",
        *,
        times: int = 1 << 30,
        chance: float = 1.0,
        skip: int = 0,
    ) -> Iterator[None]:
        """Requests of a method for names with this expression fail so many times, after `skip`."""
        self._ask(
            fault={
                "kind": kind,
                "method": method,
                "name": name,
                "times": times,
                "chance": chance,
                "skip": skip,
            }
        )
        try:
            yield
        finally:
            self._ask(fault=None)

    def _ask(self, **what: Any) -> Any:
        with urlopen(self.url + _CONTROL, json.dumps(what).encode(), timeout=20) as answer:
            return json.load(answer)


class _Store:
    """What is in the store."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.uploads = 0
        self.fault: dict[str, Any] | None = None
        self.honest = True
        self.lock = threading.Lock()

    def control(self, what: dict[str, Any]) -> list[str]:
        if what.get("reset"):
            self.objects, self.fault, self.honest = {}, None, True
        if "fault" in what:
            self.fault = what["fault"]
        if what.get("careless"):
            self.honest = False
        return sorted(self.objects)

    def fault_of(self, method: str, name: str) -> str | None:
        fault = self.fault
        if (
            fault is None
            or fault["method"] not in ("", method)
            or not re.search(fault["name"], name)
            or fault["times"] < 1
        ):
            return None
        if fault["skip"]:
            fault["skip"] -= 1
            return None
        if random.random() >= fault["chance"]:
            return None
        fault["times"] -= 1
        kind: str = fault["kind"]
        return random.choice((BUSY, DROPPED, LOST, SLOW)) if kind == "any" else kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    own: _Store

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _any(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if self.path == _CONTROL:
            with self.own.lock:
                return self._send(200, json.dumps(self.own.control(json.loads(body))).encode(), {})
        if self.path.startswith("/_object/"):
            with self.own.lock:
                return self._send(200, self.own.objects[unquote(self.path[9:])][0], {})
        parts = urlsplit(self.path)
        bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
        self.query = {key: values[0] for key, values in parse_qs(parts.query, True).items()}
        with self.own.lock:
            fault = self.own.fault_of(self.command, name)
        if fault == DROPPED:
            return self._drop()
        if fault == BUSY:
            return self._error(503, "SlowDown", "Please reduce your request rate.")
        if fault == SLOW:
            time.sleep(0.2)
        given = self.headers.get("authorization", "")
        if "Credential=" in given and f"Credential={KEY}/" not in given:
            return self._error(403, "InvalidAccessKeyId", "The key does not exist.")
        if bucket != "bucket":
            return self._error(404, "NoSuchBucket", "The specified bucket does not exist")
        with self.own.lock:
            status, headers, answer = self._answered(name, body)
        if fault == LOST:
            return self._drop()
        self._send(status, answer, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _error(self, status: int, code: str, message: str) -> None:
        self._send(status, _error(code, message), {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answered(self, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        query, objects = self.query, self.own.objects
        if self.command == "GET" and "list-type" in query:
            return 200, {}, self._listed()
        if self.command == "POST" and "delete" in query:
            keys = [
                one.text or ""
                for one in ElementTree.fromstring(body).iter()
                if one.tag.endswith("Key")
            ]
            for key in keys:
                objects.pop(key, None)
            gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            return 200, {}, f"<DeleteResult>{gone}</DeleteResult>".encode()
        if self.command == "POST" and "uploads" in query:
            self.own.uploads += 1
            upload = f"upload-{self.own.uploads}"
            self.own.parts[upload] = {}
            return (
                200,
                {},
                f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        if self.command == "PUT" and "partNumber" in query:
            self.own.parts[query["uploadId"]][int(query["partNumber"])] = body
            return 200, {"ETag": _tag(body)}, b""
        if self.command == "POST" and "uploadId" in query:
            parts = self.own.parts.pop(query["uploadId"])
            body = b"".join(parts[number] for number in sorted(parts))
            status, headers, answer = self._put(name, body)
            said = f"<CompleteMultipartUploadResult><ETag>{escape(_tag(body))}</ETag></CompleteMultipartUploadResult>"
            return status, headers, answer if status >= 300 else said.encode()
        if self.command == "PUT":
            return self._put(name, body)
        if self.command == "DELETE":
            objects.pop(name, None)
            return 204, {}, b""
        if name not in objects:
            return 404, {}, b"" if self.command == "HEAD" else _error("NoSuchKey", name)
        data, at = objects[name]
        headers = {"ETag": _tag(data), "Last-Modified": _http_date(at)}
        if self.command == "HEAD":
            return 200, headers | {"content-length": str(len(data))}, b""
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if found is None:
            return 200, headers, data
        begin = int(found[1]) if found[1] else max(0, len(data) - int(found[2]))
        end = min(int(found[2]) + 1 if found[1] and found[2] else len(data), len(data))
        if begin >= len(data):
            return 416, {}, _error("InvalidRange", name)
        return (
            206,
            headers | {"content-range": f"bytes {begin}-{end - 1}/{len(data)}"},
            data[begin:end],
        )

    def _put(self, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        held = self.own.objects.get(name)
        given = self.headers.get("if-match")
        if self.own.honest and (
            (self.headers.get("if-none-match") == "*" and held is not None)
            or (self.headers.get("x-goog-if-generation-match") == "0" and held is not None)
            or (given is not None and (held is None or _tag(held[0]) != given))
        ):
            return 412, {}, _error("PreconditionFailed", name)
        self.own.objects[name] = body, time.time()
        return 200, {"ETag": _tag(body)}, b""

    def _listed(self) -> bytes:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("continuation-token") or self.query.get("start-after", "")
        most = int(self.query.get("max-keys", 1000))
        found: list[str] = []
        folders: set[str] = set()
        last, more = "", False
        for name in sorted(self.own.objects):
            if not name.startswith(prefix) or name <= after:
                continue
            if len(found) + len(folders) >= most:
                more = True
                break
            last = name
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            data, at = self.own.objects[name]
            found.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{_iso(at)}</LastModified>"
                f"<ETag>{escape(_tag(data))}</ETag><Size>{len(data)}</Size></Contents>"
            )
        folder = "".join(
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
            for one in sorted(folders)
        )
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            f"{''.join(found)}{folder}</ListBucketResult>"
        ).encode()


def _error(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode()


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))


def _http_date(at: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(at))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that was killed ends its connections."""


if __name__ == "__main__":
    _Handler.own = _Store()
    served = _Server(("127.0.0.1", 0), _Handler)
    print(served.server_address[1], flush=True)
    served.serve_forever(0.5)
