"""How long the log-mel of stored sound is."""

from avdata.schema import LogMelSpec


def num_logmel_samples(spec: LogMelSpec, num_audio_samples: int, audio_rate_hz: int) -> int:
    """Samples of the waveform that the log-mel is made of: the stored sound at the log-mel's rate.

    The rates differ in derived sets alone.
    """
    if spec.sample_rate_hz == audio_rate_hz:
        return num_audio_samples
    return round(num_audio_samples * spec.sample_rate_hz / audio_rate_hz)


def num_logmel_columns(spec: LogMelSpec, num_audio_samples: int, audio_rate_hz: int) -> int:
    """Log-mel columns of stored sound."""
    return spec.num_columns(num_logmel_samples(spec, num_audio_samples, audio_rate_hz))
