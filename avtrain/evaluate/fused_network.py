"""The network of a sync run, which sees and hears, as a network for classification."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from avtrain.methods.sync import Sync, SyncInputs
from avtrain.models import MultisensoryNet, build_multisensory

if TYPE_CHECKING:
    from jaxtyping import Float


class FusedClassifier(nn.Module):
    """The network to its last features, their mean over time and place, and a linear classifier.

    Reference: Owens & Efros 2018, section 5 (action recognition), and the released code, where the
    classifier is a 1x1x1 convolution after the mean: the same map.
    """

    def __init__(self, network: MultisensoryNet, *, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.network = network
        self.dropout = dropout
        self.classifier = nn.Linear(network.embedding_dim, num_classes)

    def forward(
        self, inputs: SyncInputs, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c"]:
        """Logits, float32; dropout only where a generator is given, which also draws the cells of
        the fractional pooling in training mode."""
        stem = self.network.video_stem(inputs.frames)
        scale2 = self.network.fuse(stem, inputs.sound[:, 0], generator=generator).scale2
        features = scale2.mean(dim=(2, 3, 4), dtype=torch.float32)
        if generator is not None and self.dropout > 0:
            drawn = torch.rand(features.shape, generator=generator, device=features.device)
            features = features * (drawn >= self.dropout) / (1 - self.dropout)
        logits: Tensor = self.classifier(features)
        return logits.float()


def copy_to_finetune(method: Sync, *, sound: bool) -> MultisensoryNet:
    """A copy whose normalizations have scales, at 1; all else is as the run left it.

    Args:
        sound: False: zeros in place of the sound's features, as in the released switch.

    Reference: released code: restored is all but the head and the scales.
    """
    return _copy(method, sound=sound, new_scales=True)


def copy_to_freeze(method: Sync, *, sound: bool) -> MultisensoryNet:
    """A copy as it is, or with zeros in place of the sound's features, in evaluation mode."""
    return _copy(method, sound=sound, new_scales=False).eval().requires_grad_(False)


def pooled_features(network: MultisensoryNet, inputs: SyncInputs) -> dict[str, Tensor]:
    """Means over time and place, float32 (b, d): `scale0`, `scale1` and the last as `pool`."""
    fused = network.fuse(network.video_stem(inputs.frames), inputs.sound[:, 0])
    maps = {"scale0": fused.scale0, "scale1": fused.scale1, "pool": fused.scale2}
    return {name: x.mean(dim=(2, 3, 4), dtype=torch.float32) for name, x in maps.items()}


def _copy(method: Sync, *, sound: bool, new_scales: bool) -> MultisensoryNet:
    model = method.model
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):  # all that is drawn is overwritten, or is not used
        network = build_multisensory(
            model.config.model_copy(
                update={
                    "gamma": new_scales or model.config.gamma,
                    "use_sound": sound and model.config.use_sound,
                }
            )
        )
    given = model.state_dict()
    if new_scales:
        scales = {name for name, tensor in network.named_parameters() if _is_scale(name, tensor)}
        given = {n: t for n, t in given.items() if n not in scales}
    absent, unknown = network.load_state_dict(given, strict=False)
    assert not unknown and all(_is_scale(n, network.get_parameter(n)) for n in absent)
    return network.to(device)


def _is_scale(name: str, tensor: Tensor) -> bool:
    """Weights of all else have more axes than one."""
    return name.endswith(".weight") and tensor.ndim == 1
