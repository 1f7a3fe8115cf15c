"""The u-net and the network beside it as one system."""

import torch

from avtrain.models import (
    MULTISENSORY_PRESETS,
    MultisensoryConfig,
    SeparationNet,
    SeparationUnetConfig,
)

SMALL = SeparationUnetConfig(width=4, num_levels=5)


def test_published_number_of_parameters() -> None:
    """Sections 2.4 and 4.3 of the specification."""
    shape = MULTISENSORY_PRESETS["multisensory"].model_copy(update={"gamma": True})
    with torch.device("meta"):
        system = SeparationNet(SeparationUnetConfig(), shape)
        alone = SeparationNet(SeparationUnetConfig(), None)
    assert sum(p.numel() for p in system.parameters()) == 113_669_445
    assert sum(p.numel() for p in alone.parameters()) == 67_001_092


def test_what_is_seen_and_heard_reaches_the_outputs() -> None:
    torch.manual_seed(0)
    net = SeparationNet(
        SMALL, MultisensoryConfig(width=4, blocks_per_stage=1, gamma=True, norm_decay=0.9)
    ).eval()
    pictures = torch.rand(2, 3, 8, 32, 32, requires_grad=True)
    mixture = torch.rand(2, 2, 4000, requires_grad=True)
    spectrogram = torch.rand(2, 2, 16, 32, requires_grad=True)
    on, off = net(pictures, mixture, spectrogram)
    assert on.shape == off.shape == spectrogram.shape
    (on[0].sum() + 2 * off[0].sum()).backward()
    for value in (pictures, mixture, spectrogram):
        assert value.grad is not None
        assert value.grad[0].abs().sum() > 0
        assert value.grad[1].abs().sum() == 0  # of the other mixture
    assert [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_net_that_only_hears_does_not_look() -> None:
    torch.manual_seed(0)
    net = SeparationNet(SMALL, None).eval()
    spectrogram, mixture = torch.rand(1, 2, 16, 32), torch.rand(1, 2, 4000)
    first = net(torch.rand(1, 3, 8, 32, 32), mixture, spectrogram)
    second = net(torch.rand(1, 3, 8, 32, 32), mixture, spectrogram)
    assert torch.equal(first[0], second[0])
