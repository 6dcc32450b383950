"""Runs a Dockerfile without a container engine: each instruction, in folders and `chroot`.

It knows what our file uses: FROM with stages, ARG, ENV, RUN, COPY, WORKDIR, USER, HEALTHCHECK,
ENTRYPOINT, CMD; VOLUME, EXPOSE and STOPSIGNAL are only noted. It needs root. Where pip looks for
packages on this machine is mounted for the time of a RUN, and is never part of a root.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def instructions(text: str) -> list[tuple[str, str]]:
    """(name, the rest) of each; lines that end with a backslash go on, comments are left out."""
    found: list[tuple[str, str]] = []
    joined = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not (joined or line.strip()):
            continue
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        name, _, rest = (joined + line).strip().partition(" ")
        found.append((name.upper(), rest.strip()))
        joined = ""
    return found


@dataclass
class Image:
    """One stage: its root and what is set for what runs in it."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    healthcheck: str = ""
    noted: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
        """What runs those words here, as the image's user, in namespaces of its own."""
        user, group = self.ids(self.user)
        mounts = "; ".join(
            [f"mount --rbind /dev {self.root}/dev", f"mount -t proc proc {self.root}/proc"]
        )
        variables = [f"{name}={value}" for name, value in {**self.env, **(env or {})}.items()]
        inner = ["/bin/sh", "-c", f'cd {shlex.quote(self.workdir)} && exec "$@"', "sh", *words]
        chroot = ["env", "-i", *variables, "/usr/sbin/chroot", f"--userspec={user}:{group}"]
        chroot += ["--groups=", str(self.root), *inner]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *("sh", "-ec", f'{mounts}; exec "$@"', "sh", *chroot),
        ]

    def ids(self, user: str) -> tuple[int, int]:
        """The numbers of `user` or `user:group`, names looked up in the root."""
        name, _, group = user.partition(":")
        if name.isdigit():
            return int(name), int(group or name)
        for line in (self.root / "etc/passwd").read_text().splitlines():
            parts = line.split(":")
            if parts[0] == name:
                return int(parts[2]), int(parts[3])
        raise LookupError(f"no user {name} in {self.root}")


def build(context: Path, base: Path, work: Path) -> Image:
    """The last stage of the Dockerfile in `context`; every base image is a copy of `base`."""
    arguments: dict[str, str] = {}
    stages: dict[str, Image] = {}
    image: Image | None = None
    for name, rest in instructions((context / "Dockerfile").read_text("utf-8")):
        if image is None and name == "ARG":
            key, _, value = rest.partition("=")
            arguments[key] = value
        elif name == "FROM":
            source, _, stage = rest.partition(" AS ")
            assert "@sha256:" in expanded(source, arguments)
            image = Image(work / f"root-{len(stages)}")
            subprocess.run(["cp", "-a", "--reflink=auto", base, image.root], check=True)
            stages[stage or str(len(stages))] = image
        else:
            assert image is not None, f"{name} before FROM"
            _one(image, name, rest, context, stages)
    assert image is not None
    return image


def _one(image: Image, name: str, rest: str, context: Path, stages: dict[str, Image]) -> None:
    if name == "RUN":
        _run(image, rest)
    elif name == "ENV":
        for word in shlex.split(rest):
            key, _, value = word.partition("=")
            image.env[key] = expanded(value, image.env)
    elif name == "WORKDIR":
        image.workdir = rest
        (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        image.user = rest
    elif name == "COPY":
        _copy(image, rest, context, stages)
    elif name in ("ENTRYPOINT", "CMD"):
        setattr(image, name.lower(), json.loads(rest))
    elif name == "HEALTHCHECK":
        image.healthcheck = rest.partition("CMD ")[2]
        image.noted[name] = rest.partition("CMD ")[0]
    elif name in ("VOLUME", "EXPOSE", "STOPSIGNAL"):
        image.noted[name] = rest
    else:
        raise NotImplementedError(name)


def expanded(text: str, values: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)


def _run(image: Image, script: str) -> None:
    settings, mounted = _pip_of_this_machine()
    places = "; ".join(
        f"mkdir -p {at.parent}; {'mkdir -p' if place.is_dir() else 'touch'} {at}; "
        f"mount --bind {place} {at}"
        for place in mounted
        for at in (image.root / str(place).lstrip("/"),)
    )
    resolver = image.root / "etc/resolv.conf"
    kept = resolver.read_bytes() if resolver.exists() else None
    shutil.copy("/etc/resolv.conf", resolver)
    given = {name: os.environ[name] for name in os.environ if name.lower().endswith("_proxy")}
    given["DEBIAN_FRONTEND"] = "noninteractive"
    command = image.command("/bin/sh", "-c", script, env={**settings, **given})
    where = command.index("-ec") + 1
    command[where] = f"{places or ':'}; {command[where]}"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if kept is not None:
        resolver.write_bytes(kept)
    assert done.returncode == 0, f"RUN {script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def _pip_of_this_machine() -> tuple[dict[str, str], list[Path]]:
    """Where pip looks for packages, as variables, and the files and folders that they name."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings = {}
    for name, value in re.findall(r"^[\w:]+\.([\w-]+)='(.*)'$", said.stdout, re.MULTILINE):
        if name in ("index-url", "extra-index-url", "find-links", "cert", "trusted-host"):
            settings[f"PIP_{name.upper().replace('-', '_')}"] = value.replace("\\n", " ")
    named = [re.sub(r"^file://", "", word) for value in settings.values() for word in value.split()]
    places = {Path(name) for name in named if name.startswith("/") and Path(name).exists()}
    places |= {place.parent for place in places if place.name == "simple"}  # links lead beside it
    return settings, sorted(places, key=lambda place: len(place.parts))


def _copy(image: Image, rest: str, context: Path, stages: dict[str, Image]) -> None:
    words = shlex.split(rest)
    flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    *sources, target = (word for word in words if not word.startswith("--"))
    origin = stages[flags["from"]].root if "from" in flags else context
    ignored = None if "from" in flags else (context / ".dockerignore").read_text().splitlines()
    at = Path(image.workdir) / target
    into = image.root / str(at).lstrip("/")
    owner = image.ids(flags["chown"]) if "chown" in flags else (0, 0)
    for source in sources:
        found = origin / source.lstrip("/")
        end = into / found.name if len(sources) > 1 or target.endswith("/") else into
        _copy_tree(found, end, origin, ignored, owner)


def _copy_tree(
    found: Path, end: Path, origin: Path, ignored: list[str] | None, owner: tuple[int, int]
) -> None:
    if ignored is not None and is_ignored(found.relative_to(origin).as_posix(), ignored):
        assert found.is_dir() or ignored is None, f"{found} is in .dockerignore"
    if found.is_symlink():
        end.symlink_to(found.readlink())
    elif found.is_dir():
        end.mkdir(parents=True, exist_ok=True)
        for each in found.iterdir():
            name = each.relative_to(origin).as_posix()
            if ignored is None or not is_ignored(name, ignored):
                _copy_tree(each, end / each.name, origin, ignored, owner)
    else:
        end.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, end)
    os.chown(end, *owner, follow_symlinks=False)


def is_ignored(name: str, patterns: list[str]) -> bool:
    """Whether .dockerignore leaves it out; the last pattern that fits it or a parent decides."""
    parts = name.split("/")
    parents = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    found = False
    for pattern in patterns:
        wanted = pattern.lstrip("!")
        if any(
            fnmatch.fnmatchcase(each, wanted.removeprefix("**/"))
            if wanted.startswith("**/") and "/" not in each
            else fnmatch.fnmatchcase(each, wanted) and each.count("/") == wanted.count("/")
            for each in (*parents, *(parts if wanted.startswith("**/") else ()))
        ):
            found = not pattern.startswith("!")
    return found
