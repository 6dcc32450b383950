"""Lists benchmarks, and runs them one after another, each in a process of its own.

python -m benchmarks --list
python -m benchmarks decision_cost store
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def found() -> dict[str, str]:
    """Name → what it measures: the first line of its module's text."""
    benchmarks = {}
    for path in sorted(HERE.glob("*.py")):
        if not path.name.startswith("_"):
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            benchmarks[path.stem] = text.partition("\n")[0]
    return benchmarks


def main() -> int:
    known = found()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all where none is named")
    parser.add_argument("--list", action="store_true", help="list them, and run none")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(known)}")
    if arguments.list:
        width = max(map(len, known))
        for name, text in known.items():
            print(f"{name.ljust(width)}  {text}")
        return 0
    failed = []
    for name in arguments.names or known:
        print(f"\n== {name}: {known[name]}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
