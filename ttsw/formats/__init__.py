"""Readers of model file formats: JSON, ONNX graphs, Piper and CSM configurations. They need no engine library."""
