"""The command ``quantus-vit``: hands each subcommand to the module it lives in, and turns errors into one line.

Knows the modules of the subcommands by name only, and imports just the one that is called.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from ._version import __version__

__all__ = ["main"]

_COMMANDS = {
    "train": ("quantus_vit.training.command", "fine-tune a ViT on chest X-rays"),
    "compare": ("quantus_vit.comparison.command", "score explanation methods against each other"),
    "explain": ("quantus_vit.comparison.explain_command", "explain one image"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Parameters
    ----------
    argv
        Arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        Exit code: 0, or 2 for what the user can mend, with one line on the standard error; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(arguments).parse_args(arguments)
        return int(importlib.import_module(_COMMANDS[args.command][0]).run(args))
    except SystemExit as leaving:  # argparse: 0 after --help, 2 after its own errors
        return leaving.code if isinstance(leaving.code, int) else 2
    except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
        print(f"quantus-vit: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("quantus-vit: interrupted", file=sys.stderr)
        return 130


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, except "None", which tells a reader nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


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


if __name__ == "__main__":
    sys.exit(main())
