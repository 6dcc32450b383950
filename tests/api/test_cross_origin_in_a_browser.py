"""Pages of two origins call a server from a real browser, where there is one: Chromium, headless."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from decision.server.keys.entries import make_key
from tests.api.serving import Server

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER: Final = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is no Chromium (set CHROMIUM): pages are not tried in a browser"
)

PAGE = """<!doctype html><script type="module">
const [url, key] = %s;
const basic = { authorization: "Basic " + btoa(key + ":") };
const track = (id) => JSON.stringify(
  { type: "track", event: "Tea", userId: "c-1", messageId: id, writeKey: key });
const batch = (id) => JSON.stringify({ writeKey: key, batch: [JSON.parse(track(id))] });
const json = { "content-type": "application/json" };
const calls = {
  header: ["/v1/track", { method: "POST", headers: { ...basic, ...json }, body: track("1") }],
  retried: ["/v1/track", {
    method: "POST", headers: { ...basic, ...json, "x-retry-count": "1" }, body: track("2") }],
  simple: ["/v1/batch", { method: "POST", headers: { "content-type": "text/plain" }, body: batch("3") }],
  keyless: ["/v1/track", { method: "POST", headers: { ...json, authorization: "Basic eA==" }, body: track("4") }],
  cookies: ["/v1/track", { method: "POST", credentials: "include", headers: { ...basic, ...json }, body: track("5") }],
  otherHeader: ["/v1/track", { method: "POST", headers: { ...basic, "x-other": "1" }, body: track("6") }],
  otherMethod: ["/v1/track", { method: "PUT", headers: basic, body: track("7") }],
  decisions: ["/v1/decisions", { method: "POST", headers: { authorization: "Bearer " + key, ...json }, body: "{}" }],
  policy: ["/v1/policy", { headers: { authorization: "Bearer " + key } }],
  customer: ["/v1/customers/c-1", { method: "DELETE", headers: { authorization: "Bearer " + key } }],
  flags: ["/ofrep/v1/evaluate/flags", { method: "POST", headers: json, body: "{}" }],
  health: ["/health/live", {}],
  export: ["/v1/customers/c-1/export", { headers: { authorization: "Bearer " + key } }],
  metrics: ["/metrics", {}],
};
const found = {};
for (const [name, [path, options]] of Object.entries(calls)) {
  try {
    const answer = await fetch(url + path, options);
    const body = await answer.json();
    found[name] = [answer.status, body.success ?? body.code ?? null, answer.headers.has("x-request-id")];
  } catch (error) {
    found[name] = error.name;
  }
}
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
</script>"""


class Site:
    """A web site of an origin of its own; `found` is what its page could read."""

    def __init__(self) -> None:
        self.page = b""
        self.found: queue.Queue[dict[str, Any]] = queue.Queue()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(site.page)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(204)
                self.end_headers()
                site.found.put(json.loads(body))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def visited(self, folder: Path) -> dict[str, Any]:
        """What the page could read, once a browser has visited it."""
        assert BROWSER is not None
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
        command = [BROWSER, *flags, "--remote-debugging-port=0", self.origin + "/"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **quiet) as process:
            try:
                return self.found.get(timeout=60)
            finally:
                process.terminate()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    both = Site(), Site()
    yield both
    for site in both:
        site.close()


def test_pages_that_may_read_the_calls_of_segment_and_nothing_else(
    rules: Path, tmp_path: Path, sites: tuple[Site, Site]
) -> None:
    mine, other = sites
    (tmp_path / "server").mkdir()
    key, entry = make_key("web", ["events"])
    keys = tmp_path / "keys.yaml"
    keys.write_text(json.dumps([msgspec.to_builtins(entry)]), "utf-8")
    settings = {"rules": rules, "api_keys_file": keys, "segment_origins": mine.origin}
    with Server(tmp_path / "server", **settings) as server:
        server.ready()
        page = (PAGE % json.dumps([server.url, key])).encode()
        mine.page = other.page = page
        found = mine.visited(tmp_path / "profile")
        readable = {name: row for name, row in found.items() if row != "TypeError"}
        assert readable == {
            "header": [200, True, True],
            "retried": [200, True, True],
            "simple": [200, True, True],
            "keyless": [401, "unauthorized", True],
        }
        assert set(other.visited(tmp_path / "elsewhere").values()) == {"TypeError"}
