"""The programs that leave beside a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def told_by(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the program in a model's folder says of rows; no path leads it to these sources."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(folder / "load.py")],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
