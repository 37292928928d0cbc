"""Where people watch a run, beside metrics.csv: Weights & Biases and TensorBoard, under the same names."""
