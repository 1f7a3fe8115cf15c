"""Streaming trainer for audio-visual self-supervised learning, its methods and evaluations."""
