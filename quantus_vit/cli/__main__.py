"""``python -m quantus_vit.cli``, the same as ``quantus-vit``."""

from __future__ import annotations

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
