"""The hibari family: small English ONNX voices, run on ONNX Runtime in this process."""
