"""The Piper family: VITS voices as ONNX graphs, run on ONNX Runtime in this process."""
