"""Hands each subcommand to the module it lives in, and turns errors into one line.

Knows the modules of the subcommands by name only, and imports just the one that is called.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from .._version import __version__

__all__ = ["main"]

_COMMANDS = {
    "train": ("quantus_vit.cli.train", "fine-tune a ViT on chest X-rays"),
    "compare": ("quantus_vit.cli.compare", "score explanation methods against each other"),
    "confounders": ("quantus_vit.cli.confounders", "which methods show that a model has learnt an artefact"),
    "report": ("quantus_vit.cli.report", "rebuild a comparison's report, or set several side by side"),
    "explain": ("quantus_vit.cli.explain", "explain images, each as a picture"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        Exit code: 0, or 2 for what the user can mend (wrong arguments, files that cannot be read or written), with one
        line on the standard error; 130 after Ctrl-C.
    """
    _escape_what_the_locale_cannot_print()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(arguments).parse_args(arguments)
        code = int(importlib.import_module(_COMMANDS[args.command][0]).run(args))
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit as leaving:  # argparse: 0 after --help, 2 after its own errors
        return leaving.code if isinstance(leaving.code, int) else 2
    except BrokenPipeError:
        _detach_stdout()
        _say("error: the reader of the standard output has gone (broken pipe)")
        return 2
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        _say(f"error: {_one_line(error)}")
        return 2
    except KeyboardInterrupt as interrupt:
        _say(_one_line(interrupt) if str(interrupt) else "interrupted")
        return 130
    return code


def _one_line(error: BaseException) -> str:
    """The message in one line; an error of the system's names its file already."""
    return " ".join(str(error).split()) or type(error).__name__


def _say(text: str) -> None:
    """Write a line to the standard error, where there is one."""
    if sys.stderr is None:
        return
    try:
        print(f"quantus-vit: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # closed, or its reader has gone: the exit code has to do
        return


def _escape_what_the_locale_cannot_print() -> None:
    """Let names of files that are not text in the terminal's encoding be printed with escapes, not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _detach_stdout() -> None:
    """Keep the interpreter from failing a second time when it flushes the closed pipe at its end."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, except those that tell a reader nothing, and where the text has its own."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        told = default is None or default is False or default == [] or "(default: " in (action.help or "")
        return action.help if told else super()._get_help_string(action)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Parser with the options of the one subcommand that is called; the others stay unimported."""
    parser = argparse.ArgumentParser(
        prog="quantus-vit", description="Relevance for Vision Transformers: fine-tune, compare methods, explain images."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{" + ",".join(_COMMANDS) + "}")
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module, summary) in _COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, formatter_class=_HelpFormatter)
        if name == called:
            importlib.import_module(module).add_arguments(subparser)
    return parser
