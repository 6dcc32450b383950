"""MkDocs' hook: the site has the layout of the repository, so that links hold in both.

Pages of the root stand beside `docs/`. A file that a page links to, such as a module, is copied
to the site; of a link to a folder only the text stays.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Every page of the repository's root and of `docs/`, and the files that they link to."""
    pages = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    linked = {path for page in pages for path in _linked(page) if path.is_file()}
    theme = [file for file in files if Path(file.abs_src_path or "").suffix not in (".md", ".py")]
    kept = [
        file for file in theme if not Path(file.abs_src_path or "").is_relative_to(ROOT / "docs")
    ]
    found = Files(kept)
    for path in [*pages, *sorted(linked - set(pages))]:
        place = path.relative_to(ROOT).as_posix()
        found.append(File(place, str(ROOT), config.site_dir, config.use_directory_urls))
    return found


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page without its links to folders, which a site does not have."""
    here = ROOT / page.file.src_uri

    def text(link: re.Match[str]) -> str:
        return link[1] if (here.parent / link[2]).is_dir() else link[0]

    return _LINK.sub(text, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """The page with `\\|` in the cells of tables as GitHub shows it: a bar."""
    return re.sub(r"<td>.*?</td>", lambda cell: cell[0].replace("\\|", "|"), html)


def _linked(page: Path) -> set[Path]:
    targets = (link[2] for link in _LINK.finditer(page.read_text("utf-8")))
    return {(page.parent / target).resolve() for target in targets if "://" not in target}
