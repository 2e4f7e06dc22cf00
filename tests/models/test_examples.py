"""The example of a user's own models runs, offline, and shows every kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_models.py"


def test_every_kind_of_model(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", str(EXAMPLE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "phantom_vit.safetensors\n    multiclass, (1, 1, 224, 224): COVID-19" in done.stdout
    assert "timm.safetensors\n    multiclass, (1, 1, 160, 160): COVID-19" in done.stdout
    assert "timm.pth\n    multiclass, (1, 1, 160, 160): 0 0." in done.stdout
    assert "hf\n    multilabel, (1, 1, 64, 64): Edema" in done.stdout or "it needs transformers" in done.stdout
    assert "mine.py:bare\n    multiclass, (1, 1, 160, 160): 0 0." in done.stdout
    assert "mine.py:complete\n    binary, (1, 1, 96, 96): Pneumothorax 0." in done.stdout
