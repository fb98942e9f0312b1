"""Published detectors, one file each."""
