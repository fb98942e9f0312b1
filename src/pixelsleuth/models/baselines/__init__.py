"""Published detectors, one file each; see docs/add_a_detector.md."""
