"""The program `pmbench`: commands, errors and exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="pmbench",
    help="A benchmark for learning with privileged modalities: train with several, test with some of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        from .. import __version__

        typer.echo(f"pmbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["PMBENCH_DEBUG"] = "1"


COMMANDS = (
    *("run", "plan", "tune", "list", "show", "compare", "check", "new"),
    *("publish", "verify", "data", "leaderboard", "model", "plugins", "store"),
)
for _name in COMMANDS:
    importlib.import_module(f".{_name if _name != 'list' else 'list_'}", __package__).register(app)


class Interrupted(BaseException):
    """SIGINT (Ctrl-C) or SIGTERM. A class of its own, which Typer does not catch."""


def _interrupt(signum: int, frame: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the end of the processes
    raise Interrupted(signum)


def main() -> None:
    """Entry point. Prints an error as one line and a hint.

    Exit codes: 0 done, 1 failed, 2 invalid arguments, 3 nothing to run, 130 after SIGINT, 143 after SIGTERM.
    """
    from ..errors import PmbenchError
    from ..tracebacks import error_text, place

    if "--debug" in sys.argv[1:]:
        sys.argv.remove("--debug")
        os.environ["PMBENCH_DEBUG"] = "1"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app()
    except PmbenchError as error:
        if os.environ.get("PMBENCH_DEBUG"):
            if error.trace:
                print(f"In the process that raised it:\n{error.trace}", file=sys.stderr)
            raise
        print(f"Error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"Hint: {error.hint}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except Interrupted as signalled:
        print("Interrupted. Run the same command to resume.", file=sys.stderr)
        os._exit(128 + signalled.args[0])
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        if os.environ.get("PMBENCH_DEBUG"):
            raise
        if isinstance(error, MemoryError) or "can't start new thread" in str(error):
            print(f"Error: too little memory, or too few processes allowed: {error}", file=sys.stderr)
            print("Hint: see `ulimit -a`; the same command resumes", file=sys.stderr)
            raise SystemExit(1) from None
        print(f"Error: {error_text(error)}", file=sys.stderr)
        whose = "of this plugin" if place(error) else "of pmbench"
        print(f"Hint: this is a defect {whose}; --debug shows where", file=sys.stderr)
        raise SystemExit(1) from None
