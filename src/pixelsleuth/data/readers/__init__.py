"""Readers of data sets, one file a set. `open_data` finds the right one and yields its samples."""

from pixelsleuth.data.opening import Data as Data
from pixelsleuth.data.opening import open_data as open_data

__all__ = ["Data", "open_data"]
