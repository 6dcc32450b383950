"""The command line, `nextbest`. Commands import what they need when they run, to start fast."""


def main() -> None:
    """Runs the command; never returns. Exit code 0: fine, 1: something is wrong, 2: wrong usage."""
    from decision.cli.app import cli

    cli()
