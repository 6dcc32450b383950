"""The structural check: a valid text model passes, and each kind of damage is named."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from decision.scoring.features import Feature
from decision.scoring.loading import check_version
from decision.scoring.structure import DamagedModel, check_structure


@pytest.fixture(scope="module")
def sound(trained: Path) -> tuple[str, tuple[Feature, ...]]:
    """A text model that LightGBM wrote, and its features."""
    manifest, text, _ = check_version(trained)
    return text, manifest.features


def resized(text: str) -> str:
    """The text with tree_sizes that fit its trees again, as a careful hand would leave it."""
    trees = re.findall(r"Tree=\d+\n.*?\n\n\n", text, re.S)
    sizes = " ".join(str(len(tree.encode())) for tree in trees)
    return re.sub(r"tree_sizes=[^\n]*", f"tree_sizes={sizes}", text, count=1)


def with_field(text: str, tree: int, key: str, change: str) -> str:
    """The text with the value of a key in one tree replaced, sizes fitted."""
    start = text.index(f"Tree={tree}\n")
    line = re.compile(rf"^{key}=.*$", re.M).search(text, start)
    assert line is not None
    return resized(f"{text[: line.start()]}{key}={change}{text[line.end() :]}")


def field(text: str, tree: int, key: str) -> list[str]:
    start = text.index(f"Tree={tree}\n")
    line = re.compile(rf"^{key}=(.*)$", re.M).search(text, start)
    assert line is not None
    return line[1].split()


def test_what_lightgbm_writes_is_valid(sound: tuple[str, tuple[Feature, ...]]) -> None:
    text, features = sound
    structure = check_structure(text, features)
    assert structure.trees >= 1
    numeric = [index for index, feature in enumerate(features) if feature.kind == "numeric"]
    assert any(structure.thresholds[index] for index in numeric)
    assert resized(text) == text


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("version", "v3", "version is 'v3', must be 'v4'"),
        ("num_class", "3", "num_class"),
        ("objective", "regression", "objective"),
        ("max_feature_idx", "3", "max_feature_idx"),
        ("feature_names", "f0 f2", "feature_names"),
        ("feature_infos", "[0:1]", "feature_infos"),
        ("tree_sizes", "", "lists no trees"),
        ("tree_sizes", "12 x", "tree_sizes is 'x'"),
        ("label_index", "1", "label_index"),
    ],
)
def test_a_head_of_another_model_is_refused(
    sound: tuple[str, tuple[Feature, ...]], key: str, value: str, says: str
) -> None:
    text, features = sound
    changed = re.sub(rf"^{key}=.*$", f"{key}={value}", text, count=1, flags=re.M)
    with pytest.raises(DamagedModel, match=re.escape(says)):
        check_structure(changed, features)


def test_a_missing_or_superfluous_tree_is_refused(
    sound: tuple[str, tuple[Feature, ...]],
) -> None:
    text, features = sound
    first = re.search(r"Tree=0\n.*?\n\n\n", text, re.S)
    assert first is not None
    with pytest.raises(DamagedModel, match="is not where tree_sizes says"):
        check_structure(text.replace(first[0], ""), features)
    with pytest.raises(DamagedModel, match="has more than"):
        check_structure(text.replace("end of trees", first[0] + "end of trees"), features)
    listed = re.search(r"tree_sizes=(.*)", text)
    assert listed is not None
    more = text.replace(listed[0], listed[0] + " 500")
    with pytest.raises(DamagedModel, match="is not where tree_sizes says"):
        check_structure(more, features)


def test_a_cycle_is_refused(sound: tuple[str, tuple[Feature, ...]]) -> None:
    """LightGBM would never end."""
    text, features = sound
    left = field(text, 0, "left_child")
    for changed in ([*left[:-1], "0"], ["0", *left[1:]]):
        with pytest.raises(DamagedModel, match=r"do not form a tree|form a cycle"):
            check_structure(with_field(text, 0, "left_child", " ".join(changed)), features)


@pytest.mark.parametrize(
    ("key", "first", "says"),
    [
        ("leaf_value", "nan", "finite numbers|not a number"),
        ("leaf_value", "1e999", "finite numbers"),
        ("leaf_value", "0x1p3", "not a number"),
        ("threshold", "nan", "not a number"),
        ("leaf_value", "inf", "not a number"),
        ("threshold", "1_0", "not a number"),
        ("split_feature", "99", "splits feature 99"),
        ("split_feature", "-1", "splits feature -1"),
        ("split_feature", "0.5", "whole numbers"),
        ("left_child", "77", "child that does not exist"),
        ("right_child", "-99", "child that does not exist"),
        ("decision_type", "64", "decision type 64"),
        ("internal_value", "7B2", "not a number"),
        ("leaf_weight", "-", "not a number"),
        ("leaf_count", "1.5", "whole numbers"),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    sound: tuple[str, tuple[Feature, ...]], key: str, first: str, says: str
) -> None:
    text, features = sound
    changed = with_field(text, 0, key, " ".join([first, *field(text, 0, key)[1:]]))
    with pytest.raises(DamagedModel, match=says):
        check_structure(changed, features)


@pytest.mark.parametrize("key", ["leaf_value", "threshold", "left_child", "internal_weight"])
def test_a_list_of_the_wrong_length_is_refused(
    sound: tuple[str, tuple[Feature, ...]], key: str
) -> None:
    text, features = sound
    with pytest.raises(DamagedModel, match=f"{key} must have"):
        check_structure(with_field(text, 1, key, " ".join(field(text, 1, key)[1:])), features)


def test_a_threshold_may_be_infinite(sound: tuple[str, tuple[Feature, ...]]) -> None:
    """So LightGBM writes a split between missing and not missing."""
    text, features = sound
    splits, types = field(text, 0, "split_feature"), field(text, 0, "decision_type")
    place = next(index for index, kind in enumerate(types) if not int(kind) & 1)
    limits = field(text, 0, "threshold")
    limits[place] = "inf"
    structure = check_structure(with_field(text, 0, "threshold", " ".join(limits)), features)
    assert structure.thresholds[int(splits[place])][-1] == float("inf")


def test_a_feature_split_as_what_it_is_not_is_refused(
    sound: tuple[str, tuple[Feature, ...]],
) -> None:
    text, features = sound
    swapped = [
        Feature(f.name, "numeric" if f.kind == "categorical" else "categorical") for f in features
    ]
    with pytest.raises(DamagedModel, match="is split as the wrong kind"):
        check_structure(text, swapped)


def test_linear_leaves_unknown_keys_and_missing_keys_are_refused(
    sound: tuple[str, tuple[Feature, ...]],
) -> None:
    text, features = sound
    with pytest.raises(DamagedModel, match="linear models"):
        check_structure(with_field(text, 0, "is_linear", "1"), features)
    with pytest.raises(DamagedModel, match="unknown key 'surprise'"):
        check_structure(resized(text.replace("shrinkage=", "surprise=", 1)), features)
    with pytest.raises(DamagedModel, match="tree 0 has no shrinkage"):
        check_structure(resized(re.sub(r"shrinkage=.*\n", "", text, count=1)), features)


def test_a_tail_that_lightgbm_did_not_write_is_refused(
    sound: tuple[str, tuple[Feature, ...]],
) -> None:
    """LightGBM crashes on a parameter without its colon, and on one end mark too few."""
    text, features = sound
    for old, new in (
        ("[seed: ", "[seed "),
        ("end of parameters", "end of parameter"),
        ("parameters:", "parameters"),
        ("pandas_categorical:null", "pandas_categorical:[[1]]"),
    ):
        with pytest.raises(DamagedModel, match="not what LightGBM writes"):
            check_structure(text.replace(old, new, 1), features)


def test_any_damage_is_refused_or_harmless_and_nothing_else_is_raised(
    sound: tuple[str, tuple[Feature, ...]],
) -> None:
    """Thousands of flips, cuts and insertions: the check itself never fails in another way."""
    text, features = sound
    generator = random.Random(17)
    refused = 0
    for _ in range(3_000):
        place = generator.randrange(len(text))
        letter = chr(generator.choice([*range(32, 127), 10, 0, 0x4E2D]))
        changed = generator.choice(
            [
                text[:place] + letter + text[place + 1 :],
                text[:place] + text[place + generator.randrange(1, 40) :],
                text[:place] + letter + text[place:],
                text[:place],
            ]
        )
        try:
            check_structure(changed, features)
        except DamagedModel:
            refused += 1
    assert refused > 2_000
