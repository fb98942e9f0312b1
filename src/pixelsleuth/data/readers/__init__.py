"""Readers of published data sets: `open_data` yields `Sample`s of a manifest, a folder in a known layout, or the hub.

One small file a data set; `catalogue` lists them without importing any, `registry` finds the right one.
"""

from pixelsleuth.data.readers.opening import Data as Data
from pixelsleuth.data.readers.opening import open_data as open_data

__all__ = ["Data", "open_data"]
