"""Training of the multisensory network: memory, layout, precision and compilation."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from avtrain.engine.compute import keep_small_convolutions_float32
from avtrain.models import (
    FusedFeatures,
    MultisensoryConfig,
    MultisensoryNet,
    build_multisensory,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BuildMultisensory = Callable[[MultisensoryConfig], MultisensoryNet]
RandomClips = Callable[..., tuple[Tensor, Tensor]]

NARROW = MultisensoryConfig(width=2, blocks_per_stage=1)


@pytest.mark.parametrize("norm", ["renorm", "batch", "group"])
def test_activations_computed_again_give_the_same_training(
    build_net: BuildMultisensory, random_clips: RandomClips, norm: str
) -> None:
    kept = build_net(MultisensoryConfig(width=2, norm=norm, norm_decay=0.9)).train()
    again = build_multisensory(kept.config.model_copy(update={"checkpoint_stem": True})).double()
    again.load_state_dict(kept.state_dict())
    again.train()
    for step in range(3):
        frames, sound = random_clips(3, 6, 24, 24, 4_000, seed=step)
        gradients = []
        for net in (kept, again):
            net.zero_grad()
            generator = torch.Generator().manual_seed(step)
            stem = net.video_stem(frames)
            later = net.video_stem(frames.flip(0) * 0.5)  # a second forward before the backward
            losses = [
                net.logits(net.fuse(x, sound, generator=generator).scale2) for x in (stem, later)
            ]
            torch.stack(losses).square().sum().backward()
            gradients.append({name: p.grad for name, p in net.named_parameters()})
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-9, atol=1e-12)
        for name, tensor in kept.state_dict().items():
            torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-9, atol=1e-12)
    again.eval()
    torch.testing.assert_close(again(frames, sound), kept.eval()(frames, sound))


def channels_last(net: nn.Module) -> None:
    for parameter in net.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("norm", ["renorm", "batch"])
def test_channels_last_gives_the_same_and_stays(
    build_net: BuildMultisensory, random_clips: RandomClips, norm: str
) -> None:
    plain = build_net(MultisensoryConfig(width=4, norm=norm)).float().train()
    last = copy.deepcopy(plain)
    channels_last(last)
    frames, sound = (x.float() for x in random_clips(2, 6, 32, 32, 4_000))
    outputs, gradients = [], []
    for net, layout in ((plain, torch.contiguous_format), (last, torch.channels_last_3d)):
        generator = torch.Generator().manual_seed(0)
        stem = net.video_stem(frames.contiguous(memory_format=layout))
        features = net.fuse(stem, sound, generator=generator)
        for scale in (features.scale0, features.scale1, features.scale2):
            assert scale.is_contiguous(memory_format=layout)
        outputs.append(net.logits(features.scale2))
        outputs[-1].sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() < 1e-3 * one.norm() + 1e-4


@pytest.mark.parametrize("norm", ["renorm", "batch", "group"])
def test_bfloat16_training(
    build_net: BuildMultisensory, random_clips: RandomClips, norm: str
) -> None:
    net = build_net(MultisensoryConfig(width=16, blocks_per_stage=1, norm=norm)).float().train()
    wide = copy.deepcopy(net)
    channels_last(net)
    keep_small_convolutions_float32(net)
    frames, sound = (x.float() for x in random_clips(4, 6, 32, 32, 4_000))
    logits = []
    for which, enabled in ((net, True), (wide, False)):
        generator = torch.Generator().manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            stem = which.video_stem(frames)
            scale2 = which.fuse(stem, sound, generator=generator).scale2
            logits.append(which.logits(scale2))
            cam = which.activation_map(scale2)
        assert logits[-1].dtype == cam.dtype == torch.float32
        torch.testing.assert_close(cam.mean((2, 3, 4)), logits[-1], rtol=0, atol=1e-5)
        logits[-1].sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.dtype == torch.float32
    for name, buffer in net.named_buffers():
        assert buffer.dtype in (torch.float32, torch.int64), name
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=0.3)
    assert not torch.equal(logits[0], logits[1])


def test_evaluation_is_one_graph(build_net: BuildMultisensory, random_clips: RandomClips) -> None:
    net = build_net(NARROW)
    frames, sound = random_clips(1, 6, 24, 24, 4_000)
    with torch.no_grad():
        expected = net(frames, sound)
        whole = torch.compile(net.forward, backend="eager", fullgraph=True)
        torch.testing.assert_close(whole(frames, sound), expected)


# torch's tracer looks at .grad of everything
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiling_compiles_what_methods_call(
    build_net: BuildMultisensory, random_clips: RandomClips
) -> None:
    net = build_net(NARROW.model_copy(update={"checkpoint_stem": True}))
    frames, sound = random_clips(2, 6, 24, 24, 4_000)
    net.train()
    plain = copy.deepcopy(net)
    graphs: list[int] = []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(len(graph.graph.nodes))
        return graph

    net.compile(backend=count)
    outputs = []
    for which in (net, plain):
        features = which.fuse(
            which.video_stem(frames), sound, generator=torch.Generator().manual_seed(0)
        )
        outputs.append(which.logits(features.scale2))
    assert len(graphs) >= 3  # stems and trunk
    torch.testing.assert_close(outputs[0], outputs[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="gpu: torch sees no CUDA device")
def test_cuda_training_in_bfloat16_with_less_memory_and_the_same_gradients(
    build_net: BuildMultisensory, random_clips: RandomClips
) -> None:
    config = MultisensoryConfig(width=32)
    frames, sound = (x.float().cuda() for x in random_clips(2, 32, 112, 112, 24_000))
    frames = frames.contiguous(memory_format=torch.channels_last_3d)
    peaks, gradients = [], []
    for checkpointed in (False, True):
        net = build_net(config.model_copy(update={"checkpoint_stem": checkpointed})).float().cuda()
        channels_last(net.train())
        for _ in range(2):
            net.zero_grad()
            torch.cuda.reset_peak_memory_stats()
            generator = torch.Generator("cuda").manual_seed(0)
            torch.cuda.set_sync_debug_mode("error")
            try:
                with torch.autocast("cuda", dtype=torch.bfloat16):
                    logits = net(frames, sound, generator=generator)
                logits.sum().backward()
            finally:
                torch.cuda.set_sync_debug_mode("default")
            peaks.append(torch.cuda.max_memory_allocated())
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    assert peaks[3] < 0.8 * peaks[1]
    for name, gradient in gradients[0].items():
        assert gradient.isfinite().all()
        difference = (gradients[1][name] - gradient).norm() / gradient.norm().clamp(min=1e-6)
        assert difference < 0.05, name
    assert isinstance(net.fuse(net.video_stem(frames), sound), FusedFeatures)
