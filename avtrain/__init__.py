"""Streaming trainer for audio-visual self-supervised learning, its methods and evaluations."""

__version__ = "0.1.0"
