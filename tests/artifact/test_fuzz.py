"""Some of the tables and artifacts of tests/fuzz.py, of which thousands are tried before a release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNTS = {"tables": 150, "artifacts": 100}


@pytest.mark.parametrize("what", COUNTS)
def test_no_input_raises_but_our_errors_or_runs_anything_or_takes_much_memory(what: str, tmp_path: Path):
    script = Path(__file__).resolve().parents[1] / "fuzz.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "METAMODAL_CACHE": str(tmp_path)}
    command = [sys.executable, str(script), what, str(COUNTS[what]), "--first", "100000"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = json.loads(done.stdout)
    assert found["faults"] == [] and 0 < found["refused"] < found["tried"]
    if what == "tables":
        assert found["peak_mb"] <= 700
    else:  # the artifacts are made first, which takes more than reading them
        assert found["peak_mb"] - found["before_mb"] <= 30
