"""Inputs of the networks out of single modalities, and which stored field they are made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from avdata import ShardSet
from avdata.features.logmel import stored_log_mel
from avtrain.data.loader import View
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.labelled_audio import AudioClipBatch
from avtrain.errors import DataError, RunError
from avtrain.evaluate.clip_batches import ClipForm, ClipSource
from avtrain.evaluate.frozen import FrozenEncoders

MakeShardSet = Callable[..., Path]


def filled(view: View[Any], sample: int) -> Any:
    batch = view.allocate(1)
    view.fill(batch, 0, StreamItem(sample=sample, epoch=0, occurrence=0))
    return batch


def test_inputs_are_those_of_the_methods_own_view(frozen: FrozenEncoders, shards: ShardSet) -> None:
    table = read_sample_table(shards)
    view = frozen.method.eval_view(shards, table, num_windows=3, pin_memory=False)
    inputs = frozen.method.prepare(filled(view, 5), frozen.device)
    for modality, expected in (("video", inputs.video), ("audio", inputs.audio)):
        source = ClipSource(frozen, shards, ClipForm(modality=modality))
        batch = filled(source.even_view(3, paired=True), 5)
        torch.testing.assert_close(frozen.inputs(batch), expected)


def test_log_mel_of_sound_is_the_stored_one(frozen: FrozenEncoders, shards: ShardSet) -> None:
    form = frozen.sound_form(shards.spec, where="set", prefer_sound=True)
    assert form == "waveform"
    clip_form = ClipForm(modality="audio", sound_form=form)
    source = ClipSource(frozen, shards, clip_form)
    assert source.audio is not None
    batch = source.audio.allocate(1)
    batch.sound[0] = torch.from_numpy(source.audio.read(3, 0.5))
    assert shards.spec.logmel is not None
    whole = torch.from_numpy(stored_log_mel(shards.read_audio(3), shards.spec.logmel)[0])
    stored = AudioClipBatch(sound=whole[50:250:2][None].half(), gain=torch.ones(1))
    torch.testing.assert_close(frozen.inputs(batch), frozen.inputs(stored), atol=0.02, rtol=0)


def test_gain_is_that_of_the_amplitude(frozen: FrozenEncoders, shards: ShardSet) -> None:
    sound = torch.full((1, 100, 128), -3.0, dtype=torch.float16)
    quiet = frozen.inputs(AudioClipBatch(sound=sound, gain=torch.ones(1)))
    loud = frozen.inputs(AudioClipBatch(sound=sound, gain=torch.full((1,), torch.e**0.5)))
    louder = AudioClipBatch(sound=sound + 1, gain=torch.ones(1))  # of power: exp(1)
    assert (loud > quiet).all()
    torch.testing.assert_close(loud, frozen.inputs(louder))


def test_which_field_the_sound_is_made_of(
    frozen: FrozenEncoders, make_shard_set: MakeShardSet
) -> None:
    def form(prefer_sound: bool, **plan: object) -> str:
        spec = ShardSet(make_shard_set(num_clips=2, **plan)).spec
        return frozen.sound_form(spec, where="set", prefer_sound=prefer_sound)

    assert form(False) == "logmel"
    assert form(True) == "waveform"
    assert form(True, fields=("logmel",)) == "logmel"
    assert form(False, fields=("audio",)) == "waveform"
    with pytest.raises(DataError, match=r"needs field logmel or audio, set has \{frames\}"):
        form(False, fields=("frames",))
    with pytest.raises(DataError, match="set has sound at 48000 Hz, the run was trained on 24000"):
        form(False, fields=("audio",), sample_rate_hz=48000)
    with pytest.raises(DataError, match=r"set has logmel made with .* the run was trained on"):
        form(False, fields=("logmel",), sample_rate_hz=48000)


def test_networks_that_are_not_there(frozen: FrozenEncoders) -> None:
    half = FrozenEncoders(method=frozen.method, device=frozen.device, absent=frozenset({"audio"}))
    with pytest.raises(RunError, match="there is no audio network"):
        half.network("audio")
    bare = FrozenEncoders(method=frozen.method, device=frozen.device, has_audio_statistics=False)
    with pytest.raises(RunError, match="without the mean and deviation of its input"):
        bare.network("audio")
    other = FrozenEncoders(method=torch.nn.Linear(1, 1), device=frozen.device)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="a video and an audio network, Linear has none"):
        other.network("video")


def test_the_hash_of_the_weights_tells_all_of_them(frozen: FrozenEncoders) -> None:
    again = FrozenEncoders(method=frozen.method, device=frozen.device)
    assert again.weights_hash == frozen.weights_hash
    frozen.pairs.preparation.audio_mean[3] += 1
    assert FrozenEncoders(method=frozen.method, device=frozen.device).weights_hash != (
        again.weights_hash
    )
