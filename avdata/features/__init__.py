"""Sound to log-mel and log spectrogram: numpy for the builder, torch for the trainer's device."""
