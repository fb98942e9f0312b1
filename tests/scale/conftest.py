"""The fixtures of the scan tests; their pictures and their detector are in tests/fakes."""

import pytest

pytest.importorskip("pyarrow", reason="plans and parts are Parquet: install the extra scale")

from scale_tools import scan as scan
