"""Damage: a version with any file changed anywhere is refused, or the damaged part never used."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.scoring.compiled import find_object
from decision.scoring.loading import check_version
from decision.scoring.manifest import (
    MANIFEST,
    MOST_KNOTS,
    TREES,
    Isotonic,
    ModelError,
    Platt,
    read_version,
    write_version,
)
from tests.scoring.build import SPEC, reseal, small_model

_quiet = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = SPEC.replace("calibration: platt", "calibration: isotonic")
    return small_model(tmp_path_factory.mktemp("models"), spec, rows=2_400)


@pytest.fixture
def copy(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version to damage; nothing of it is kept in a cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(sound, tmp_path / "version"))


def damaged(data: bytes, kind: str, place: float, bit: int) -> bytes:
    at = int(place * len(data))
    match kind:
        case "flipped":
            return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "missing":
            return data[:at] + data[at + 1 :]
        case "doubled":
            return data[:at] + data[at : at + 64] + data[at:]
        case _:
            return data[:at] + bytes(len(data) - at)


_damage = st.tuples(
    st.sampled_from(["flipped", "cut", "missing", "doubled", "zeroed"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 7),
)


@_quiet
@given(name=st.sampled_from([MANIFEST, TREES, "profile.json"]), damage=_damage)
def test_a_listed_file_changed_anywhere_refuses_the_version(
    copy: Path, name: str, damage: tuple[str, float, int]
) -> None:
    path = copy / name
    before = path.read_bytes()
    after = damaged(before, *damage)
    path.write_bytes(after)
    try:
        if after != before:
            with pytest.raises(ModelError, match=r"manifest\.json|model\.txt|profile\.json"):
                check_version(copy)
        else:
            check_version(copy)
    finally:
        path.write_bytes(before)


@_quiet
@given(suffix=st.sampled_from([".o", ".npz", ".json"]), damage=_damage)
def test_a_compiled_object_changed_anywhere_is_never_run(
    copy: Path, suffix: str, damage: tuple[str, float, int]
) -> None:
    """It is found undamaged, or it is not found and made again."""
    manifest, _ = read_version(copy)
    (path,) = (copy / "compiled").glob(f"*{suffix}")
    kept = {one: one.read_bytes() for one in (copy / "compiled").iterdir() if one.suffix != ".json"}
    before = path.read_bytes()
    path.write_bytes(damaged(before, *damage))
    try:
        found = find_object(copy, manifest)
        assert found is None or all(one.read_bytes() == data for one, data in kept.items())
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    "change",
    [
        {"isotonic": Isotonic(knots=(), probabilities=())},
        {"isotonic": Isotonic(knots=(0.0, 1.0), probabilities=(0.1,))},
        {"isotonic": Isotonic(knots=(0.0, 0.0), probabilities=(0.1, 0.2))},
        {"isotonic": Isotonic(knots=(1.0, 0.0), probabilities=(0.1, 0.2))},
        {"isotonic": Isotonic(knots=(0.0, 1.0), probabilities=(0.2, 0.1))},
        {"isotonic": Isotonic(knots=(0.0, 1.0), probabilities=(0.2, 1.1))},
        {"isotonic": Isotonic(knots=(0.0, 1.0), probabilities=(-0.1, 0.1))},
        {
            "isotonic": Isotonic(
                knots=tuple(map(float, range(MOST_KNOTS + 1))),
                probabilities=(0.5,) * (MOST_KNOTS + 1),
            )
        },
        {"calibration": Platt(slope=1.0, intercept=0.0)},
        {"isotonic": None, "calibration": Platt(slope=-1.0, intercept=0.0)},
        {"isotonic": None, "calibration": Platt(slope=0.0, intercept=0.0)},
    ],
)
def test_an_impossible_calibration_behind_a_fitting_digest_is_refused(
    sound: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    manifest, text = read_version(sound)
    changed = msgspec.structs.replace(manifest, **change)
    with pytest.raises(ModelError, match="calibration is impossible; train the model again"):
        check_version(reseal(tmp_path / "m", changed, text))


def test_a_manifest_that_lists_a_file_outside_its_folder_is_refused(
    sound: Path, tmp_path: Path
) -> None:
    manifest, text = read_version(sound)
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "x").write_bytes(b"")
    write_version(folder, manifest, text.encode(), {"../x": b"x"})
    with pytest.raises(ModelError, match=r"'\.\./x', which is not a file of its folder"):
        read_version(folder)


def test_constraints_in_a_text_model_must_be_of_its_features(sound: Path, tmp_path: Path) -> None:
    manifest, text = read_version(sound)
    for line in ("monotone_constraints=1 0", "monotone_constraints=2"):
        broken = text.replace("\nfeature_infos", f"\n{line}\nfeature_infos", 1)
        with pytest.raises(ModelError, match="monotone_constraints must be 13"):
            check_version(reseal(tmp_path / line[-3:], manifest, broken))
