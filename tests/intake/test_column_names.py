"""No column that was meant to be a consent, an alias, a time zone or a reach becomes an attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decision.core.errors import FileError
from decision.intake.rows import Read, RowOptions, read_rows


def read(folder: Path, form: str, columns: dict[str, Any]) -> Read:
    path = folder / f"customers.{form}"
    if form == "csv":
        path.write_text(f"{','.join(columns)}\n{','.join(columns.values())}\n")
    else:
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({name: [cell] for name, cell in columns.items()}), path)
    [found] = read_rows(str(path), form, RowOptions())
    return found


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Consent.marketing.email", "consent.marketing.email"),
        ("consents.marketing.*", "consent.marketing.*"),
        ("aliases.email", "alias.email"),
        ("Alias.Email", "alias.Email"),
        ("TimeZone", "timezone"),
        ("Reachable", "reachable"),
        ("UNREACHABLE", "unreachable"),
    ],
)
def test_a_column_named_almost_like_one_with_a_meaning_is_refused_with_it(
    tmp_path: Path, form: str, name: str, meant: str
) -> None:
    with pytest.raises(FileError) as refused:
        read(tmp_path, form, {"customer_id": "c-1", name: "denied"})
    assert f'the column {name} would be an attribute of this name; did you mean "{meant}"?' in str(
        refused.value
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("consent_marketing_email", "denied"),
        ("ConsentEmail", "granted"),
        ("consents", "{marketing: denied}"),
        ("aliases", "a@mail.example"),
    ],
)
def test_a_consent_or_an_alias_in_a_column_of_attributes_is_a_bad_row(
    tmp_path: Path, form: str, name: str, cell: str
) -> None:
    found = read(tmp_path, form, {"customer_id": "c-1", name: cell})
    assert found.row is None and found.problem.startswith(name)


def test_what_only_looks_a_little_like_it_stays_an_attribute(tmp_path: Path) -> None:
    columns = {"customer_id": "c-1", "consent_version": "3", "alias": "Mei", "state": "denied"}
    found = read(tmp_path, "csv", columns).row
    assert found is not None
    assert found.attributes == {"consent_version": 3, "alias": "Mei", "state": "denied"}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_channels_that_are_lost_are_a_column_too(tmp_path: Path, form: str) -> None:
    found = read(tmp_path, form, {"customer_id": "c-1", "unreachable": "push sms"}).row
    assert found is not None and found.unreachable == ["push", "sms"]
