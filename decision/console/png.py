"""Pictures as PNG, for documents that take no SVG: drawn without a browser, by resvg.

Letters are those of DejaVu Sans, which comes with matplotlib. Names in other scripts, such as
Chinese ones, need a font of this machine: the one that has most of their letters.
"""

from __future__ import annotations

from functools import cache
from html import unescape
from pathlib import Path
from re import sub
from typing import Final

from decision.core.errors import NextbestError
from decision.installation import require

_FAMILY: Final = "DejaVu Sans"
_FILES: Final = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
_ZOOM: Final = 2
"""Pixels of the PNG for each of the SVG: screens and printers have more than one."""


class NoFont(NextbestError):
    """No font of this machine has some letters of a picture."""


def require_png(what: str) -> None:
    """Refuses before any work what needs packages that are not installed.

    Raises:
        PackagesMissing: with the command that installs them.
    """
    require(what, "matplotlib", "resvg_py", extra="train")


def png_of(svg: str) -> bytes:
    """The PNG of an SVG.

    Raises:
        NoFont: letters of it are in no font of this machine.
    """
    import resvg_py

    shown = unescape(sub(r"<style>.*?</style>|<[^>]*>", "", svg))
    fonts = [*map(str, _own_fonts()), *fonts_for(shown)]
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=_ZOOM,
            skip_system_fonts=True,
            font_files=fonts,
            font_family=_FAMILY,
            sans_serif_family=_FAMILY,
        )
    )


def fonts_for(text: str) -> list[str]:
    """The files of further fonts that a text needs.

    Raises:
        NoFont: some of its letters are in none.
    """
    missing = {ord(letter) for letter in text if letter.isprintable() and not letter.isspace()}
    missing -= _letters(_own_fonts()[0])
    found = []
    while missing:
        best = max(_fonts_here(), key=lambda path: len(missing & _letters(path)), default=None)
        covered = missing & _letters(best) if best is not None else set()
        if best is None or not covered:
            letters = "".join(one for one in dict.fromkeys(text) if ord(one) in missing)
            raise NoFont(
                f"no font of this machine has the letters {letters[:40]}: install one that has, on "
                "Debian for instance: apt-get install fonts-noto-cjk; or write SVG"
            )
        found.append(str(best))
        missing -= covered
    return found


def _own_fonts() -> list[Path]:
    import matplotlib

    return [Path(matplotlib.get_data_path(), "fonts", "ttf", name) for name in _FILES]


@cache
def _fonts_here() -> tuple[Path, ...]:
    """The fonts of this machine, in an order that is the same each time."""
    from matplotlib.font_manager import findSystemFonts

    return tuple(sorted(map(Path, findSystemFonts())))


@cache
def _letters(font: Path) -> frozenset[int]:
    """The code points that a font has; of a collection, those of its first font."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(str(font)).get_charmap())
    except (OSError, RuntimeError):  # a format that FreeType does not read
        return frozenset()
