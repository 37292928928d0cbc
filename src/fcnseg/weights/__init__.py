"""Weights from elsewhere: files of tensors, torchvision's downloads, and the surgery that makes them fit."""
