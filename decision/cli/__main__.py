"""`python -m decision.cli` is `nextbest`."""

from decision.cli.app import cli

if __name__ == "__main__":
    cli(prog_name="nextbest")
