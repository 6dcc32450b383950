"""The address of a demo's console: printed, and opened where somebody sits at this machine."""

from __future__ import annotations

import os
import sys
import threading

from decision.cli.output import console


def show_address(url: str, *, opens: bool) -> None:
    """Prints where the console of a server is; with `opens`, shows it in a browser, if there is."""
    page = f"{url}/console"
    out = console()
    out.print(f"\n[bold green]Look at it: [link={page}]{page}[/link][/]  (Ctrl-C ends it)\n")
    sys.stdout.flush()
    if opens and has_screen():
        import webbrowser

        threading.Thread(target=webbrowser.open, args=[page], daemon=True).start()


def has_screen() -> bool:
    """Whether a person at a terminal has a screen on which a browser can open."""
    if not on_both_ends() or os.environ.get("CI"):
        return False
    if sys.platform in ("darwin", "win32"):
        return not os.environ.get("SSH_CONNECTION")
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def on_both_ends() -> bool:
    """Whether a terminal is read and written."""
    return sys.stdin.isatty() and sys.stdout.isatty()
