"""The bundled detector: SIDA's architecture at a size that a laptop runs, through ONNX Runtime."""
