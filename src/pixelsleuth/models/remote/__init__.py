"""Detectors of a PixelSleuth service somewhere else, used as if they were here."""
