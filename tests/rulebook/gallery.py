"""The gallery of wrong rule files: `golden/` and the answers of the checker, as a page for people.

    python -m tests.rulebook.gallery            writes docs/wrong-rules.md
    python -m tests.rulebook.gallery --update   writes every golden/*/expected.txt as well

A folder of `golden/` has wrong rule files, `about.txt` (a title; then what is wrong, in a user's
words) and `expected.txt`, which is exactly what `nextbest check` prints. Its files are checked
together with `golden/shop.yaml`, a small shop without a mistake, unless it has no rule file.
`customers.ndjson`, if it is there, is the sample of `check --against`, and `now.txt` its day;
`runs.json` is how many runs of journeys wait in the store, by `journey/step`,
and `before.txt` the rules it was used with.
What a repository cannot hold is made: `name.yaml.bytes` has the size of a large file,
`name.yaml.link` the target of a link.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from pathlib import Path

import msgspec

from decision.core.timers import tally_of
from decision.intake.field_sample import known_fields
from decision.rulebook.diagnostics import CODES, WARNINGS, Diagnostic, render_all
from decision.rulebook.reader import load_files, load_folder
from decision.rulebook.review.observed import review_fields
from decision.rulebook.review.past import review_past
from decision.rulebook.review.waiting_runs import review_runs

GOLDEN = Path(__file__).parent / "golden"
PAGE = Path(__file__).parents[2] / "docs" / "wrong-rules.md"
SHOP = GOLDEN / "shop.yaml"
_PLAIN = ("about.txt", "expected.txt", "now.txt", "runs.json", "before.txt")

_HEAD = """\
# Mistakes in rules, and the answers of the checker

`nextbest check rules` reads a rules folder and lists everything that is wrong with it: the file, line
and column, the reason, and, where possible, a fix. With an *error* the folder is not used, and the
rules in force stay. A *warning* marks something that will not do what you meant.

`nextbest check rules --against customers.ndjson` also compares the fields in the rules with what
customers really have.

Every answer below is what the command prints for the file above it. Each file is in a folder with
this small shop, which has no mistakes:

```yaml
{shop}```

"""


def folders() -> list[Path]:
    """The folders of the gallery, by name."""
    return sorted(place for place in GOLDEN.iterdir() if place.is_dir())


def check(folder: Path) -> list[Diagnostic]:
    """What the checker finds in a folder of the gallery."""
    with tempfile.TemporaryDirectory() as place:
        rules = Path(place) / "rules"
        rules.mkdir()
        files = [one for one in folder.iterdir() if one.name not in _PLAIN]
        files = [one for one in files if one.suffix != ".ndjson"]
        for file in files:
            target = rules / file.name
            if file.suffix == ".link":
                (rules / file.stem).symlink_to(file.read_text("utf-8").strip())
            elif file.suffix == ".bytes":
                size = int(file.read_text("utf-8"))
                (rules / file.stem).write_bytes(b"#".ljust(size - 1, b" ") + b"\n")
            else:
                target.write_bytes(file.read_bytes())
        if files:
            (rules / SHOP.name).write_bytes(SHOP.read_bytes())
        result = load_folder(rules)
    if (folder / "now.txt").exists() and result.definition is not None:
        today = date.fromisoformat((folder / "now.txt").read_text("utf-8").strip())
        return [*result.diagnostics, *review_past(result.definition, result.places, today)]
    if (folder / "runs.json").exists() and result.definition is not None:
        runs = msgspec.json.decode((folder / "runs.json").read_bytes(), type=dict[str, int])
        tallies = {tally_of(*name.split("/")): count for name, count in runs.items()}
        before = load_files({SHOP.name: SHOP.read_text("utf-8"), "before.yaml": _before(folder)})
        journeys = () if before.definition is None else before.definition.journeys
        found = review_runs(result.definition, result.places, tallies, before=journeys)
        return [*result.diagnostics, *found]
    sample = folder / "customers.ndjson"
    if not sample.exists() or result.definition is None:
        return result.diagnostics
    known = known_fields(str(sample))
    known = msgspec.structs.replace(
        known, sample=f"the {known.customers} customers of {sample.name}"
    )
    return [*result.diagnostics, *review_fields(result.definition, result.places, known)]


def _before(folder: Path) -> str:
    file = folder / "before.txt"
    return file.read_text("utf-8") if file.exists() else "{}"


def page() -> str:
    """The whole page, from the folders."""
    order = list(CODES)
    entries = []
    for folder in folders():
        title, _, text = (folder / "about.txt").read_text("utf-8").partition("\n")
        found = check(folder)
        shown = "".join(map(_shown, sorted(folder.iterdir())))
        answer = f"```text\n{render_all(found)}\n```\n"
        first = min(order.index(one.code) for one in found)
        body = f"## {title}\n\n{text.strip()}\n\n{shown}{answer}\n"
        entries.append((first, folder.name, body))
    return (
        _HEAD.replace("{shop}", SHOP.read_text("utf-8"))
        + "".join(body for _, _, body in sorted(entries))
        + _table()
    )


def _shown(file: Path) -> str:
    """A file as the page shows it; nothing if it cannot be shown."""
    if file.name in _PLAIN or file.suffix in (".bytes", ".link"):
        return ""
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        return ""
    if not text.isprintable() and any(
        not letter.isprintable() and letter not in "\n\t" for letter in text
    ):
        return ""
    kind = "json" if file.suffix == ".ndjson" else "yaml"
    return f"`{file.name}`\n\n```{kind}\n{text}```\n\n"


def _table() -> str:
    rows = "".join(
        f"| `{code}` | {'warning' if code in WARNINGS else 'error'} | {meaning} |\n"
        for code, meaning in CODES.items()
    )
    return (
        "## All codes\n\n"
        "The code is in brackets at the end of the first line, and is `code` in "
        "`nextbest check --json`. Codes never change.\n\n"
        f"| code | severity | meaning |\n|---|---|---|\n{rows}"
    )


def main() -> None:
    """Writes the page, and with `--update` the expected answers as well."""
    if "--update" in sys.argv:
        for folder in folders():
            (folder / "expected.txt").write_text(render_all(check(folder)) + "\n", "utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
