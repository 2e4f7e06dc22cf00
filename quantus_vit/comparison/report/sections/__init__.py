"""Sections of the page, a module for each group; every one is left out where its run has no data for it."""

from __future__ import annotations
