"""What pages share of an archive is made once for each state of it."""

from __future__ import annotations

import threading
from pathlib import Path

from decision.console.archive import Archive


def test_what_is_made_of_the_files_is_made_again_only_where_they_changed(tmp_path: Path) -> None:
    """Also where several ask at once."""
    archive, made, together = Archive(tmp_path), list[int](), threading.Barrier(4)

    def make() -> int:
        made.append(1)
        return len(made)

    def ask() -> None:
        together.wait(60)
        assert archive.once("a", ("events",), make) == 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(made) == 1
    assert archive.once("b", ("events",), make) == 2
    file = tmp_path / "events" / "date=2026-11-20" / "part-0.parquet"
    file.parent.mkdir(parents=True)
    file.touch()
    assert archive.once("a", ("events",), make) == 3
    assert archive.once("a", ("events",), make) == 3
    assert archive.once("a", ("decisions",), make) == 4
