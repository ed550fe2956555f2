"""The clients: data, training, quantization from torch, experiments."""
