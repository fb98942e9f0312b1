"""Detectors of moderate size through ONNX Runtime: no torch."""
