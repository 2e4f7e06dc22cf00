"""The command ``quantus-vit``: one module a subcommand, and :func:`.main.main`, which calls them.

Parsing imports nothing but the standard library and tables of names; a subcommand imports what it needs when it runs.
"""

from __future__ import annotations

from .main import main

__all__ = ["main"]
