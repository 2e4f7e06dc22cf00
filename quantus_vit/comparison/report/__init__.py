"""``report.html``: result folders -> one page of tables, curves and maps that a browser shows without a network.

``recording`` writes into a result folder what the page needs beside the tables, ``reading`` reads it all back, the
sections make HTML of it, ``explorer`` packs images and maps, ``bundle`` builds scripts and styles into the page.
"""

from __future__ import annotations

from .page import write_report
from .recording import record_pictures, record_run

__all__ = ["record_pictures", "record_run", "write_report"]
