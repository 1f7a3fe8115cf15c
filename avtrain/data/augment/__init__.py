"""Batched augmentation on the device; the parameters come with each sample."""
