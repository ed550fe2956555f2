"""Networks that others trained: ONNX files and torch modules become integer models."""
