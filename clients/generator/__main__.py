"""`make clients`: writes the generated files; `--check` only says which differ."""

from __future__ import annotations

import sys

from clients.generator.files import FOLDER, differing, generated


def main() -> int:
    """Writes what differs, or names it; the exit code."""
    if "--check" in sys.argv[1:]:
        found = differing()
        if found:
            print(f"not of the present API: {', '.join(found)}. Run: make clients", file=sys.stderr)
        return 1 if found else 0
    for name, text in generated().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
