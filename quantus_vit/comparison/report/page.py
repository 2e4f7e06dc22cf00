"""Result folders -> ``report.html``: sections, explorer, scripts and styles put together and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...files import write_whole
from .bundle import asset, csp_hash, script, style
from .explorer import cases_of_page, explorer_data, explorer_media
from .html import Section, text_of
from .reading import RunFolder, read_run
from .sections.details import (
    curves_section,
    failures_section,
    figures_section,
    groups_section,
    localisation_section,
    settings_section,
    ties_section,
)
from .sections.ranking import ranking_section
from .sections.runs import runs_sections
from .sections.studies import confounders_section, removal_section, sensitivity_section
from .sections.top import model_section, top_section

__all__ = ["MOST_INSIDE", "write_report"]

MOST_INSIDE = 8_000_000
"""Bytes of pictures and maps that the page itself holds; more go into files beside it."""


def write_report(
    folders: Sequence[Path],
    file: Path | None = None,
    most_inside: int = MOST_INSIDE,
    confounders: Sequence[Path] = (),
) -> Path:
    """Write the page of one result folder, or of several side by side.

    Parameters
    ----------
    folders : sequence of Path
        Result folders of ``compare``.
    file : Path, optional
        The page. By default ``report.html`` in the folder; of several ``side_by_side.html`` in the first.
    most_inside : int
        Bytes of pictures and maps from which on they go into a folder beside the page, which the page loads when
        they are looked at.
    confounders : sequence of Path
        Folders of ``quantus-vit confounders score``, which get a section of their own.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileNotFoundError, ValueError
        A folder holds no results, or damaged ones; see :func:`~.reading.read_run`.
    """
    runs = [read_run(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    if file is None:
        file = folders[0] / ("report.html" if len(folders) == 1 else "side_by_side.html")
    cases = cases_of_page(runs)
    packed = [explorer_media(runs, case) for case in cases]
    media = [_json(one) for one in packed]
    beside = sum(map(len, media)) > most_inside
    data = explorer_data(runs, packed) if cases else None
    if data is not None:
        data["folder"] = _write_media(file, media) if beside else None
    if not beside:
        _remove_media(file)
    page = _page(_sections(runs, confounders, explorer=data is not None), data, [] if beside else media)
    write_whole(file, lambda new: new.write(page.encode("utf-8", errors="backslashreplace")))
    return file


def _names(folders: Sequence[Path]) -> list[str]:
    """Shortest endings of the folders' places that tell them apart.

    Raises
    ------
    ValueError
        A folder is given twice.
    """
    places = [folder.resolve().parts for folder in folders]
    if len(set(places)) < len(places):
        raise ValueError(f"a folder is given twice: {', '.join(map(str, folders))}")
    for length in range(1, max(map(len, places)) + 1):
        names = ["/".join(parts[-length:]) for parts in places]
        if len(set(names)) == len(names):
            break
    return names


def _sections(runs: Sequence[RunFolder], confounders: Sequence[Path], explorer: bool) -> list[Section]:
    shown = Section("explorer", "Explorer", (asset("explorer.html"),)) if explorer else None
    confounded = confounders_section(confounders)
    if len(runs) > 1:
        return [section for section in (*runs_sections(runs), shown, confounded) if section is not None]
    (run,) = runs
    model = model_section(run)
    found = [
        *([model, top_section(run)] if model is not None else [top_section(run)]),
        ranking_section(run),
        shown,
        curves_section(run),
        sensitivity_section(run),
        removal_section(run),
        confounded,
        localisation_section(run),
        groups_section(run),
        ties_section(run),
        figures_section(run),
        failures_section(run),
        settings_section(run),
    ]
    return [section for section in found if section is not None]


def _page(sections: Sequence[Section], data: dict[str, Any] | None, media: Sequence[str]) -> str:
    code, look = script(), style()
    beside = "" if data is None or data["folder"] is None else " 'self' file:"
    policy = (
        f"default-src 'none'; script-src {csp_hash(code)}{beside}; style-src {csp_hash(look)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    contents = "".join(f'<li><a href="#{s.anchor}">{text_of(s.title)}</a></li>' for s in sections)
    blocks = "" if data is None else _block("explorer-data", _json(data))
    blocks += "".join(_block(f"media-{number}", text) for number, text in enumerate(media, 1))
    body = "\n".join(section.html() for section in sections)
    head = (
        '<meta charset="utf-8"><title>Comparison of explanations</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><style>{look}</style>'
    )
    top = (
        '<a class="skip" href="#main">Skip to the content</a>\n'
        "<header><h1>Comparison of explanation methods</h1></header>\n"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>'
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{top}\n<main id="main" tabindex="-1">\n{body}\n'
        f"</main>\n{blocks}\n<script>{code}</script>\n</body></html>\n"
    )


def _json(value: Any) -> str:
    """JSON in which nothing ends a script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _block(name: str, text: str) -> str:
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def _media_folder(file: Path) -> Path:
    return file.with_name(f"{file.stem}_files")


def _write_media(file: Path, media: Sequence[str]) -> str:
    """Write the cases' media as scripts, the one thing that a page may load from a disk; returns the folder's name."""
    folder = _media_folder(file)
    _remove_media(file)
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(media, 1):
        (folder / f"{number}.js").write_text(f"quantusVitMedia({number},{text});\n", encoding="ascii")
    return folder.name


def _remove_media(file: Path) -> None:
    folder = _media_folder(file)
    for old in folder.glob("[0-9]*.js"):
        old.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
