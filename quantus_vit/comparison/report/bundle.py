"""The page's scripts and styles, of the small files in ``assets``, as one text each.

The scripts are JavaScript modules without cycles, which import each other by name; one after another, without their
import and export words, they are one script. So the page needs no build step and no network, and its
Content-Security-Policy can name the one script by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources

__all__ = ["asset", "csp_hash", "script", "style"]

_STYLES = ("base.css", "tables.css", "charts.css", "explorer.css")
_ENTRY = "main.js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)
_TOP_NAME = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)


def asset(name: str) -> str:
    """Text of a file that ships with the page."""
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def style() -> str:
    """All styles."""
    return "\n".join(asset(name) for name in _STYLES)


def script() -> str:
    """All modules that ``main.js`` reaches, each after those that it imports."""
    return _join(_reached(_ENTRY, {}))


def _reached(name: str, found: dict[str, str]) -> dict[str, str]:
    """Modules by name, dependencies first."""
    text = asset(name)
    for other in _IMPORT.findall(text):
        if other not in found:
            _reached(other, found)
    found[name] = text
    return found


def _join(modules: Mapping[str, str]) -> str:
    """One script of several modules.

    Raises
    ------
    ValueError
        Two modules give one name at their top level, or an import or export has another form than this file knows.
    """
    owners: dict[str, str] = {}
    parts = []
    for name, text in modules.items():
        for top in _TOP_NAME.findall(text):
            if top in owners:
                raise ValueError(f"{name} and {owners[top]} both name something {top!r}; rename one")
            owners[top] = name
        plain = _EXPORT.sub("", _IMPORT.sub("", text))
        if re.search(r"^(?:import|export)\b", plain, re.MULTILINE):
            raise ValueError(f'{name}: write import {{ name }} from "./file.js"; and export before a declaration')
        parts.append(f"// {name}\n{plain}")
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n"


def csp_hash(text: str) -> str:
    """A text as a source of a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
