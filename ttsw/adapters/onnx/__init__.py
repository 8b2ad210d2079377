"""ONNX graphs: sessions on ONNX Runtime, and reading a graph without its weights."""
