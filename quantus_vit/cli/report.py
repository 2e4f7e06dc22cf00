"""``quantus-vit report``: result folders of ``compare`` -> their report, rebuilt; several stand side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from .figure_options import add_figure_options, check_figures

__all__ = ["add_arguments", "run"]

_DESCRIPTION = """\
Rebuild the report of a result folder of 'quantus-vit compare' from the files in it; neither model nor data are needed.
Several folders, as of other models, seeds or protocols, are set side by side in one page. A folder of 'quantus-vit
confounders score' beside them is shown in a section of the page."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``report``."""
    parser.description = _DESCRIPTION
    parser.add_argument("folders", nargs="+", metavar="DIR", help="result folder, or one of confounders")
    parser.add_argument(
        "--out", metavar="FILE",
        help="the page (default: report.html in the folder; of several side_by_side.html in the first)",
    )  # fmt: skip
    from ..comparison.printing import FIGURES

    add_figure_options(parser, ", ".join(FIGURES.names()))


def run(args: argparse.Namespace) -> int:
    """Run ``report``.

    Raises
    ------
    ValueError, OSError
        A folder holds no results, or a figure or method is unknown; the message says what would be right.
    """
    from ..comparison.confounders import is_confounder_study
    from ..comparison.printing import print_figures
    from ..comparison.report import write_report

    check_figures(args)
    given = [Path(folder) for folder in args.folders]
    studies = [folder for folder in given if is_confounder_study(folder)]
    folders = [folder for folder in given if folder not in studies]
    if not folders:
        raise ValueError(
            f"{str(studies[0])!r} is a study of confounders, which is shown beside a comparison: "
            f"'quantus-vit report RUN {studies[0]}'"
        )
    page = write_report(folders, None if args.out is None else Path(args.out), confounders=studies)
    for folder in folders if args.figures else ():
        for file in print_figures(folder, args.figures, args.figure_methods or ()):
            print(file)
    print(page)
    return 0
