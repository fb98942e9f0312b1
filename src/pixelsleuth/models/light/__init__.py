"""Baselines through ONNX Runtime, without torch."""
