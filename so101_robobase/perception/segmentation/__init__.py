"""The segmentation network: model, training, evaluation and inference."""
