"""The fixtures of the scan tests; their pictures and their detector are in tests/fakes."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="plans and parts are Parquet: install the extra scale")
sys.path.append(str(Path(__file__).parents[1] / "fakes"))

from scale_tools import scan as scan
