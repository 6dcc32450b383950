"""The manifest of a model version: what the model is, what it needs, and the digests of its files.

A version folder `models/<name>/<version>/` has `manifest.json`, `model.txt` (LightGBM's text
format) and the other files that the manifest lists with their digests. `version` is a hash of the
content: the same training gives the same version. `digest` covers every byte of the manifest, so
damage and manual edits are noticed. Files that are not listed (`compiled/`, `report/`) are not part
of the content.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from decision.core.definition import Goal
from decision.core.errors import NextbestError
from decision.core.said import Said, lasting
from decision.core.values import Value
from decision.files import read_regular
from decision.scoring.features import Feature, UnknownFeature, check_feature
from decision.scoring.notes import AnyNote
from decision.scoring.scope import EVERYWHERE, Scope

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
TREES: Final = "model.txt"
UPLIFT: Final = "uplift.txt"
"""The trees of an R-learner, whose sum is the uplift."""
MOST_KNOTS: Final = 200
"""An isotonic calibration has at most this many knots."""


class ModelError(NextbestError, ValueError):
    """A model version that must not serve; the text has the path, the problem and the fix."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a message × channel was given in the fitted rows, and how many responded."""

    message: str
    channel: str
    shows: int
    responses: int


class Platt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calibration: probability = σ(slope · log-odds of the trees + intercept) (Platt 1999)."""

    slope: float
    intercept: float


class Isotonic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calibration: from log-odds (`knots`, ascending) to probabilities, linear in between.

    Below the first and above the last knot the probability is constant. It never falls.
    """

    knots: tuple[float, ...]
    probabilities: tuple[float, ...]


class Parity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest difference of compiled log-odds from LightGBM's, over `rows` rows."""

    rows: int
    difference: float


class Smoothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a prediction is pulled to the starting probability while there is little evidence.

    None means: from the policy's `settings`.
    """

    by: Literal["message", "message_channel"] = "message"
    starting_probability: float | None = None
    starting_evidence: float | None = None


Attribution = Literal["last_touch", "each", "discounted"]
"""Which of the selections that an event may belong to it counts for: see `learning.attribution`."""


Learner = Literal["s", "r"]


class Uplift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a message adds over silence, as the version has learned it (see `learning.uplift`).

    `losses` are the R-losses on customers that were not seen: of the S-learner, the R-learner, and
    `none`, which says that no message adds anything. `control` is the number of rows in which
    nothing was said, `mean` what a message adds on average, `kin` the same by category. While there
    is little evidence of a message, it is pulled to `starting_uplift`; None: to what its kin add.
    """

    learner: Learner
    losses: dict[str, float]
    control: int
    mean: float
    kin: dict[str, float] = {}
    starting_uplift: float | None = None

    def start_of(self, category: str) -> float:
        """The uplift of a message of this category that there is no evidence of."""
        if self.starting_uplift is not None:
            return self.starting_uplift
        return self.kin.get(category, self.mean)


class Responses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as a response: `target` for all messages; None: each message's own goal, and
    `without_goal` for those that have none. Versions of earlier releases, which do not say it,
    counted an event for `each` message.
    """

    target: Goal | None = None
    without_goal: Goal | None = None
    attribution: Attribution = "each"

    def after_silence(self) -> Goal | None:
        """What silence is judged by: the one target of all, if it can be reached without a message.

        None where an event counts for one message: then silence would have more time than these.

        >>> purchase = Goal(event="purchase", within=86_400_000_000)
        >>> Responses(target=purchase).after_silence() == purchase
        True
        >>> Responses(target=purchase, attribution="last_touch").after_silence() is None
        True
        """
        if self.attribution != "each" or not reached_alone(self.target):
            return None
        return self.target

    def in_words(self) -> str:
        """As a sentence says it.

        >>> Responses(without_goal=Goal(event="click", within=86_400_000_000)).in_words()
        'the goal of each message, else click within 1d'
        """
        if self.target is not None:
            return _in_words(self.target)
        if self.without_goal is None:
            return Said("the goal of each message")
        goal = _in_words(self.without_goal)
        return Said("the goal of each message, else %(goal)s", goal=goal)


def reached_alone(target: Goal | None) -> bool:
    """Whether customers can do it without a message: it is no event about a contact."""
    return target is not None and not target.event.startswith("message.")


def _in_words(goal: Goal) -> str:
    return Said("%(event)s within %(lasts)s", event=goal.event, lasts=lasting(goal.within))


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts of a training: rows fitted and held out, seed, parameters, metrics, libraries.

    `from_time` and `to_time` are the times of the earliest and latest row, in microseconds;
    `learned_until` is that of the latest row used to fit, stop or calibrate, None if not known. The
    held-out rows are the latest: on their earlier half training stops and calibrates; the metrics
    are of the `test_rows`, the latest ones. `left_out` is the number of rows of the log that did
    not count, by reason. `calibrations` has the log loss of each that was tried. `notes` say what
    the table lacked, and what else may be wrong (texts, in versions of earlier releases).
    """

    rows: int
    positives: int
    validation_rows: int
    validation_positives: int
    test_rows: int = 0
    test_positives: int = 0
    left_out: dict[str, int] = {}
    seed: int
    trees: int
    from_time: int | None = None
    to_time: int | None = None
    learned_until: int | None = None
    parameters: dict[str, Any] = {}
    metrics: dict[str, float | None] = {}
    calibrations: dict[str, float] = {}
    notes: tuple[AnyNote, ...] = ()
    libraries: dict[str, str] = {}

    @property
    def span(self) -> int | None:
        """Microseconds from the earliest to the latest row; None if times are not known."""
        known = self.from_time is not None and self.to_time is not None
        return self.to_time - self.from_time if known else None  # type: ignore[operator]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json`. `target` says in words what counts as a response, `responses` exactly (None
    in versions of earlier releases). `exploration` is a γ that replaces the policy's, or None.
    `start` is the file of the linear start that the trees add to, or None. `scope` is where the
    version decides.

    At most one of `calibration` and `isotonic` is set. `parity` is from the machine that trained;
    it and `created_at` do not change `version`. `uplift` is there if priorities are of it.
    """

    format_version: int = FORMAT_VERSION
    name: str
    version: str = ""
    created_at: str = ""
    target: str
    responses: Responses | None = None
    scope: Scope = EVERYWHERE
    objective: Literal["binary"] = "binary"
    features: tuple[Feature, ...]
    categories: dict[str, tuple[Value, ...]] = {}
    start: str | None = None
    calibration: Platt | None = None
    isotonic: Isotonic | None = None
    smoothing: Smoothing = Smoothing()
    exploration: float | None = None
    uplift: Uplift | None = None
    training: Training
    evidence: tuple[Evidence, ...] = ()
    files: dict[str, str] = {}
    parity: Parity | None = None
    digest: str = ""


class _Head(msgspec.Struct):
    format_version: int


def content_version(manifest: Manifest) -> str:
    """The name of a version: 12 hexadecimal digits of a hash of all but time and machine."""
    plain = msgspec.structs.replace(manifest, version="", created_at="", parity=None, digest="")
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:12]


def write_version(
    folder: Path,
    manifest: Manifest,
    trees: bytes,
    others: Mapping[str, bytes] = MappingProxyType({}),
) -> Manifest:
    """Writes the files of a version into an existing folder; returns the manifest with its digests.

    `others`: further files of the content, by name.
    """
    contents = {TREES: trees, **others}
    files = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    manifest = msgspec.structs.replace(manifest, files=files, digest="")
    manifest = msgspec.structs.replace(manifest, version=content_version(manifest))
    open_text = _as_json(manifest)
    digest = hashlib.sha256(open_text).hexdigest()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(open_text.replace(b'"digest": ""', _seal(digest), 1))
    return msgspec.structs.replace(manifest, digest=digest)


def read_version(folder: Path) -> tuple[Manifest, str]:
    """The manifest and the text model of a version, checked.

    Raises:
        ModelError: a file is missing, is damaged, has another format, or names unknown features.
    """
    path = folder / MANIFEST
    raw = _read(path)
    try:
        head = msgspec.json.decode(raw, type=_Head)
        if head.format_version != FORMAT_VERSION:
            raise ModelError(
                f"{path}: format_version is {head.format_version}, must be {FORMAT_VERSION}; "
                "train the model again with this release"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: {error}; train the model again") from None
    _check_features(path, manifest)
    digest = hashlib.sha256(raw.replace(_seal(manifest.digest), b'"digest": ""', 1)).hexdigest()
    if digest != manifest.digest:
        raise ModelError(
            f"{path}: its content does not match its digest; it was damaged or edited: "
            "restore it, or train the model again"
        )
    _check_calibration(path, manifest)
    contents = {TREES: _read(folder / TREES)}
    for name in manifest.files:
        if Path(name).name != name:
            raise ModelError(f"{path}: it lists {name!r}, which is not a file of its folder")
        if name != TREES:
            contents[name] = _read(folder / name)
    for name, data in contents.items():
        wanted = manifest.files.get(name, "none")
        found = hashlib.sha256(data).hexdigest()
        if found != wanted:
            raise ModelError(
                f"{folder / name}: its SHA-256 is {found[:12]}…, the manifest says {wanted[:12]}…; "
                "restore the file, or train the model again"
            )
    trees = contents[TREES]
    try:
        return manifest, trees.decode()
    except UnicodeDecodeError:
        raise ModelError(f"{folder / TREES}: it is not UTF-8 text; train the model again") from None


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror or error}); give the folder of a model "
            f"version, with {MANIFEST} and {TREES}"
        ) from None


def _check_features(path: Path, manifest: Manifest) -> None:
    if not manifest.features:
        raise ModelError(f"{path}: it has no features; train the model again")
    seen: set[str] = set()
    for feature in manifest.features:
        try:
            check_feature(feature)
        except UnknownFeature as error:
            raise ModelError(
                f"{path}: feature {error}; train the model again with features of this release"
            ) from None
        if feature.name in seen:
            raise ModelError(f"{path}: feature {feature.name!r} is listed twice; train it again")
        seen.add(feature.name)
        if (feature.kind == "categorical") is not (feature.name in manifest.categories):
            raise ModelError(
                f"{path}: feature {feature.name!r} is {feature.kind}, which does not fit its "
                "categories; train the model again"
            )


def _check_calibration(path: Path, manifest: Manifest) -> None:
    """Raises ModelError if calibration could reverse the order, or give no probability."""
    platt, isotonic = manifest.calibration, manifest.isotonic
    valid = platt is None or isotonic is None
    if platt is not None:
        valid &= platt.slope > 0
    if isotonic is not None:
        knots, found = isotonic.knots, isotonic.probabilities
        valid &= 1 <= len(knots) == len(found) <= MOST_KNOTS
        valid &= all(low < high for low, high in itertools.pairwise(knots))
        valid &= all(low <= high for low, high in itertools.pairwise(found))
        valid &= all(0 <= each <= 1 for each in found)
    if not valid:
        raise ModelError(f"{path}: its calibration is impossible; train the model again")


def evidence_of(manifest: Manifest) -> Mapping[tuple[str, str], tuple[int, int]]:
    """(shows, responses) of each message × channel, and under (message, "") of each message."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for row in manifest.evidence:
        for key in ((row.message, row.channel), (row.message, "")):
            shows, responses = found.get(key, (0, 0))
            found[key] = (shows + row.shows, responses + row.responses)
    return found


def _as_json(manifest: Manifest) -> bytes:
    plain = msgspec.to_builtins(manifest)
    return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n"


def _seal(digest: str) -> bytes:
    return f'"digest": "{digest}"'.encode()
