"""Published detectors, one file each; see docs/how-to/add-a-detector.md."""
