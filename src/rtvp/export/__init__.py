"""Detectors as files that other runtimes run: ONNX and OpenVINO, in float32 or 8-bit integers."""
