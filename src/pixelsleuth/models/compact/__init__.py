"""The torch side of the bundled detector: the forensic encoder, its text, the export to ONNX."""
