"""The stand-in detector, `tests/fakes/fake_detector.py`, can be imported by its name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))
