"""Loading: a valid version scores as LightGBM does; damage is refused and never crashes."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import lightgbm
import msgspec
import numpy as np
import pytest

from decision.scoring import loading, trial
from decision.scoring.compiled import find_object, platform_key
from decision.scoring.features import Feature
from decision.scoring.leaf_masks import LeafTables
from decision.scoring.loading import check_version, load_model
from decision.scoring.manifest import (
    MANIFEST,
    TREES,
    ModelError,
    content_version,
    read_version,
    write_version,
)
from tests.scoring.build import SPEC, random_matrix, reseal, small_model


def reference(folder: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=(folder / TREES).read_text(encoding="utf-8"))


def test_compiled_trees_score_as_lightgbm_does(trained: Path) -> None:
    model = load_model(trained)
    assert model.engine == "compiled" and model.note is None
    matrix = random_matrix(len(model.manifest.features), 3_000, 1)
    expected = reference(trained).predict(matrix, raw_score=True, num_threads=1)
    assert np.abs(model.log_odds(matrix) - expected).max() <= 1e-9
    calibration = model.manifest.calibration
    assert calibration is not None
    shifted = calibration.slope * expected + calibration.intercept
    assert model.probabilities(matrix) == pytest.approx(1 / (1 + np.exp(-shifted)), abs=1e-12)


def test_compiled_trees_read_a_matrix_however_it_lies_in_memory(trained: Path) -> None:
    trees = load_model(trained).trees
    matrix = random_matrix(13, 60, 2)
    expected = trees(matrix).tolist()
    assert trees(np.asfortranarray(matrix)).tolist() == expected
    assert trees(np.repeat(matrix, 2, axis=0)[::2]).tolist() == expected
    assert trees(matrix[:7]).tolist() == expected[:7]
    assert trees(matrix[:0]).tolist() == []
    with pytest.raises(ValueError, match="60 rows of 12 features"):
        trees(matrix[:, 1:])


def test_a_version_is_named_by_its_content(trained: Path) -> None:
    manifest, _ = read_version(trained)
    assert trained.name == manifest.version == content_version(manifest)
    later = msgspec.structs.replace(manifest, created_at="2030-01-01T00:00:00+00:00")
    assert content_version(later) == manifest.version
    other = msgspec.structs.replace(manifest, exploration=3.0)
    assert content_version(other) != manifest.version


@pytest.mark.parametrize("name", [MANIFEST, TREES])
def test_every_tenth_byte_damaged_is_refused(version_folder: Path, name: str) -> None:
    """Flipped, cut off there, or left out: always a ModelError that names the file."""
    path = version_folder / name
    sound = path.read_bytes()
    for place in range(0, len(sound), 10):
        kind = place // 10 % 3
        if kind == 0:
            data = sound[:place] + bytes([sound[place] ^ 1 << place % 8]) + sound[place + 1 :]
        elif kind == 1:
            data = sound[:place]
        else:
            data = sound[:place] + sound[place + 1 :]
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"manifest\.json|model\.txt"):
            check_version(version_folder)
    path.write_bytes(sound)
    check_version(version_folder)


def test_damage_stops_load_model_before_anything_runs(
    version_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("something ran"))
    path = version_folder / TREES
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ModelError, match="restore the file, or train the model again"):
        load_model(version_folder)


def test_a_missing_folder_or_file_says_what_a_version_holds(
    version_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"nowhere/manifest\.json: cannot be read"):
        load_model(tmp_path / "nowhere")
    (version_folder / TREES).unlink()
    with pytest.raises(ModelError, match=r"model\.txt: cannot be read \(No such file"):
        load_model(version_folder)


def test_another_format_version_is_refused_before_its_fields_are_read(
    version_folder: Path,
) -> None:
    path = version_folder / MANIFEST
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "format_version": 2, "novelty": 1}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"format_version is 2, must be 1; train the model again"):
        load_model(version_folder)


def test_an_edit_by_hand_is_noticed(version_folder: Path) -> None:
    path = version_folder / MANIFEST
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"seed": 7', '"seed": 8', 1), encoding="utf-8")
    with pytest.raises(ModelError, match="does not match its digest"):
        load_model(version_folder)


def test_a_feature_of_another_release_is_refused(trained: Path, tmp_path: Path) -> None:
    manifest, text = read_version(trained)
    features = (*manifest.features[:-1], Feature("message.mood", "numeric"))
    changed = reseal(tmp_path / "m", msgspec.structs.replace(manifest, features=features), text)
    with pytest.raises(ModelError, match=r"'message\.mood' is not a feature of a message"):
        load_model(changed)


def test_fewer_features_than_the_trees_are_made_for_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    manifest, text = read_version(trained)
    fewer = msgspec.structs.replace(
        manifest, features=tuple(f for f in manifest.features if f.name != "customer.age")
    )
    with pytest.raises(ModelError, match="max_feature_idx is"):
        load_model(reseal(tmp_path / "m", fewer, text))


def test_manifests_that_contradict_themselves_are_refused(trained: Path, tmp_path: Path) -> None:
    manifest, text = read_version(trained)
    for number, (change, says) in enumerate(
        (
            ({"features": ()}, "it has no features"),
            ({"features": manifest.features + manifest.features[:1]}, "is listed twice"),
            ({"categories": {}}, "does not fit its categories"),
        )
    ):
        changed = msgspec.structs.replace(manifest, **change)
        with pytest.raises(ModelError, match=says):
            load_model(reseal(tmp_path / f"m{number}", changed, text))


def test_trees_broken_behind_a_fitting_digest_are_refused(trained: Path, tmp_path: Path) -> None:
    """LightGBM 4.7 crashes on more sizes than trees, and scores a NaN leaf as NaN."""
    manifest, text = read_version(trained)
    more = text.replace("tree_sizes=", "tree_sizes=400 ", 1)
    leaf = text.replace("leaf_value=-", "leaf_value=n", 1)
    for number, broken in enumerate((more, leaf)):
        with pytest.raises(ModelError, match=r"model\.txt: "):
            load_model(reseal(tmp_path / f"m{number}", manifest, broken))


def test_a_trial_that_crashes_or_hangs_refuses_the_version(
    version_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever LightGBM does to the child process, this process gets a sentence."""
    for object_file in (version_folder / "compiled").iterdir():
        object_file.unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    child = tmp_path / "python"
    for script, says in (
        ("kill -SEGV $$", r"ended by signal 11"),
        ("echo no such model >&2; exit 1", "safely: no such model"),
        ("exec sleep 60", r"took longer than 0\.5 s"),
        ("echo trial: scored quickly", "the trial ended with 0"),
    ):
        child.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        child.chmod(child.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(child))
        with pytest.raises(ModelError, match=says):
            load_model(version_folder, time_limit=0.5)


def test_trees_that_cannot_be_compiled_are_run_by_lightgbm(
    version_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for object_file in (version_folder / "compiled").iterdir():
        object_file.unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    child = tmp_path / "python"
    child.write_text("#!/bin/sh\necho trial: scored\nkill -SEGV $$\n", encoding="utf-8")
    child.chmod(child.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(child))
    model = load_model(version_folder)
    assert model.engine == "lightgbm"
    assert model.note is not None and "signal 11" in model.note
    matrix = random_matrix(len(model.manifest.features), 50, 2)
    expected = reference(version_folder).predict(matrix, raw_score=True, num_threads=1)
    assert np.array_equal(model.log_odds(matrix), expected)


def test_without_lleaves_lightgbm_scores_and_the_model_says_so(
    version_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really without it: neither this process nor the child can import it."""
    for name in ("lleaves", "llvmlite"):
        (tmp_path / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\")\n", encoding="utf-8"
        )
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    model = load_model(version_folder)
    assert model.engine == "lightgbm"
    assert model.note is not None and "No module named" in model.note


def test_a_tried_version_loads_without_another_trial(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("it was tried again"))
    assert load_model(trained).engine == "compiled"


def test_no_version_has_its_trees_checked_in_the_process_that_serves(
    version_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the tables of its masks made: for a large model, each is a tenth of a second of Python
    beside the requests."""
    monkeypatch.setattr(loading, "check_structure", lambda *_: pytest.fail("checked here"))
    monkeypatch.setattr(LeafTables, "of", lambda *_: pytest.fail("made here"))
    assert load_model(version_folder).engine == "compiled"
    for file in (version_folder / "compiled").iterdir():
        file.unlink()
    assert load_model(version_folder).engine == "compiled"


def test_what_was_tried_with_another_manifest_is_not_taken(trained: Path, tmp_path: Path) -> None:
    """The same trees can be wrong for other features."""
    manifest, text = read_version(trained)
    assert find_object(trained, manifest) is not None
    other = msgspec.structs.replace(manifest, features=tuple(reversed(manifest.features)))
    folder = reseal(tmp_path / "m", other, text)
    shutil.copytree(trained / "compiled", folder / "compiled")
    assert find_object(folder, read_version(folder)[0]) is None


def test_a_damaged_object_is_never_run_but_made_again(version_folder: Path) -> None:
    manifest, _ = read_version(version_folder)
    path = find_object(version_folder, manifest)
    assert path is not None
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert find_object(version_folder, manifest) is None
    model = load_model(version_folder)
    assert model.engine == "compiled"
    assert find_object(version_folder, manifest) is not None
    matrix = random_matrix(len(manifest.features), 100, 3)
    expected = reference(version_folder).predict(matrix, raw_score=True, num_threads=1)
    assert np.abs(model.log_odds(matrix) - expected).max() <= 1e-9


def test_the_object_of_other_trees_is_not_taken(trained: Path, tmp_path: Path) -> None:
    """A record with correct digests, but copied from another version."""
    other = small_model(tmp_path / "models", SPEC.replace("rounds: 15", "rounds: 3"))
    manifest, _ = read_version(other)
    for file in (trained / "compiled").iterdir():
        (other / "compiled" / file.name).write_bytes(file.read_bytes())
    assert find_object(other, manifest) is None


def test_where_the_folder_cannot_be_written_the_object_goes_to_the_cache(
    version_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (version_folder / "compiled").iterdir():
        file.unlink()
    (version_folder / "compiled").rmdir()
    (version_folder / "compiled").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load_model(version_folder).engine == "compiled"
    kept = [path.name for path in (tmp_path / "cache" / "nextbest").rglob("*.json")]
    assert kept == [f"{platform_key()}.json"]


def test_the_trial_is_a_command_with_usage_and_clear_refusals(
    version_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "decision.scoring.trial"]
    assert subprocess.run(command, check=False).returncode == 2
    assert "Example: python -m decision.scoring.trial" in capfd.readouterr().err
    path = version_folder / TREES
    path.write_text("tree\n", encoding="utf-8")
    run = subprocess.run([*command, str(version_folder)], check=False)
    assert run.returncode == loading.REFUSED
    assert "restore the file, or train the model again" in capfd.readouterr().err


def test_probe_rows_touch_every_threshold_from_both_sides(trained: Path) -> None:
    manifest, _, structure = check_version(trained)
    rows = trial.probe_rows(manifest, structure)
    for column, feature in enumerate(manifest.features):
        seen = set(rows[:, column].tolist())
        if feature.kind == "categorical":
            assert {float(code) for code in range(len(manifest.categories[feature.name]))} <= seen
        for limit in structure.thresholds[column]:
            if abs(limit) < 1e300:
                assert {limit, np.nextafter(limit, -np.inf), np.nextafter(limit, np.inf)} <= seen
        assert np.isnan(rows[:, column]).any()


def test_sealing_gives_digests_that_anybody_can_check(trained: Path, tmp_path: Path) -> None:
    manifest, text = read_version(trained)
    others = {name: (trained / name).read_bytes() for name in manifest.files if name != TREES}
    sealed = write_version(tmp_path, manifest, text.encode(), others)
    assert sealed == manifest
    assert (tmp_path / MANIFEST).read_bytes() == (trained / MANIFEST).read_bytes()
    assert sealed.files == {
        TREES: hashlib.sha256(text.encode()).hexdigest(),
        **{name: hashlib.sha256(content).hexdigest() for name, content in others.items()},
    }
    assert {"profile.json", "spec.json"} <= others.keys()


def test_the_time_limit_of_a_trial_leaves_room_for_compiling() -> None:
    assert loading.TIME_LIMIT >= 60
