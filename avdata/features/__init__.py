"""Torch functions that the builder runs on CPU and the trainer on the device: one definition."""
