"""Published networks: tensors under others' names to ours, with a line about each of them.

What the tensors cannot tell (a pooling without parameters, a stride) is taken as published and said
in `assumed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from avtrain.models.conv_audio import AudioNetConfig
from avtrain.models.projection import ProjectionConfig
from avtrain.models.r2plus1d import BLOCKS_PER_STAGE, R2Plus1DConfig
from avtrain.models.standard_r2plus1d import StandardR2Plus1DConfig
from avtrain.models.two_stream import AudioVisualConfig, build_audio_visual

Part = Literal["video_model", "audio_model", "video_proj", "audio_proj"]
PARTS: tuple[Part, ...] = ("video_model", "audio_model", "video_proj", "audio_proj")

PublishedLayout = Literal["avid", "avid-classifier", "torchvision-r2plus1d"]
"""Both networks with heads; the video network of a fine-tuned classifier; torchvision's network."""

TensorStatus = Literal["ok", "missing", "unexpected", "shape", "unused"]

_CLASSIFIERS = {"avid-classifier": "classifier.", "torchvision-r2plus1d": "fc."}


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorLine:
    """What became of one tensor."""

    name: str
    """As published, without `module.`; where it is missing, ours."""
    shape: tuple[int, ...] | None
    expected: tuple[int, ...] | None
    status: TensorStatus
    """`unused` is the classifier of a network that is taken without it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PublishedNetworks:
    """Networks read from published tensors; complete where no line is a fault."""

    layout: PublishedLayout
    config: AudioVisualConfig
    """Parts that the layout does not have are at their defaults."""
    parts: tuple[Part, ...]
    tensors: dict[str, Tensor]
    """By our names; only those that fit."""
    lines: tuple[TensorLine, ...]
    assumed: tuple[str, ...]
    """What the tensors do not tell."""

    def __repr__(self) -> str:
        return f"PublishedNetworks({self.layout}, {len(self.tensors)} tensors)"

    @property
    def faults(self) -> tuple[TensorLine, ...]:
        """Lines of tensors that are missing, unexpected or of another shape."""
        return tuple(line for line in self.lines if line.status not in ("ok", "unused"))


def read_published(
    state: Mapping[str, Tensor], *, config: AudioVisualConfig | None = None
) -> PublishedNetworks:
    """Networks of a state dict, under our names.

    Args:
        config: What the networks are; None is told from names and shapes.

    Raises:
        ValueError: The names are of no layout that is known, or the shapes of no network.
    """
    named = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    layout = _layout_of(named)
    parts: tuple[Part, ...] = PARTS if layout == "avid" else ("video_model",)
    ours = {_our_name(name, layout): name for name in named}
    shapes = {our: tuple(named[name].shape) for our, name in ours.items()}
    assumed: tuple[str, ...] = ()
    if config is None:
        config, assumed = _infer(shapes, layout)
    with torch.device("meta"):
        model = build_audio_visual(config)
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name.partition(".")[0] in parts
    }
    lines, tensors = [], {}
    unused = _CLASSIFIERS.get(layout)
    for our in [*expected, *(n for n in ours if n not in expected)]:
        status = _status(our, shapes, expected)
        name = ours.get(our, our)
        if status == "unexpected" and unused and name.startswith(unused):
            status = "unused"
        if status == "ok":
            tensors[our] = named[name]
        lines.append(
            TensorLine(name=name, shape=shapes.get(our), expected=expected.get(our), status=status)
        )
    return PublishedNetworks(
        layout=layout,
        config=config,
        parts=parts,
        tensors=tensors,
        lines=tuple(lines),
        assumed=assumed,
    )


def load_parts(
    config: AudioVisualConfig, tensors: Mapping[str, Tensor], parts: tuple[Part, ...]
) -> dict[Part, nn.Module]:
    """The parts that there are, with their weights, in evaluation mode.

    Args:
        tensors: By the names of the model's state dict.
    """
    with torch.device("meta"):
        model = build_audio_visual(config)
    loaded: dict[Part, nn.Module] = {}
    for part in parts:
        module: nn.Module = getattr(model, part)
        start = f"{part}."
        own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        module.load_state_dict(own, assign=True)
        loaded[part] = module.eval().requires_grad_(False)
    return loaded


def _status(
    name: str, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> TensorStatus:
    if name not in shapes:
        return "missing"
    if name not in expected:
        return "unexpected"
    return "ok" if shapes[name] == expected[name] else "shape"


def _layout_of(named: Mapping[str, Tensor]) -> PublishedLayout:
    first = {name.partition(".")[0] for name in named}
    if {"video_model", "audio_model"} <= first:
        return "avid"
    if "feature_extractor" in first and any(".spt_conv1." in name for name in named):
        return "avid-classifier"
    if "stem.0.weight" in named and "layer1.0.conv1.0.0.weight" in named:
        return "torchvision-r2plus1d"
    seen = ", ".join(sorted(named)[:3]) or "no tensors"
    raise ValueError(
        f"its {len(named)} tensors ({seen} ...) are of no known network; known are those of AVID "
        "and CMA (video_model.*, audio_model.*, video_proj.*, audio_proj.*), of classifiers "
        "fine-tuned from them (feature_extractor.*) and torchvision's r2plus1d_18 (stem.*, "
        "layer1.*)"
    )


def _our_name(name: str, layout: PublishedLayout) -> str:
    if layout == "torchvision-r2plus1d":
        return f"video_model.{name}"
    return re.sub(r"^feature_extractor\.", "video_model.", name)


def _infer(
    shapes: Mapping[str, tuple[int, ...]], layout: PublishedLayout
) -> tuple[AudioVisualConfig, tuple[str, ...]]:
    """What the networks are, and what was assumed of them."""
    if layout == "torchvision-r2plus1d":
        stages = tuple(_num_blocks(shapes, f"video_model.layer{i}") for i in (1, 2, 3, 4))
        standard = StandardR2Plus1DConfig(
            kind="standard",
            depth=_depth(stages),
            width=_dim(shapes, "video_model.stem.3.weight", 0, default=64),
        )
        return AudioVisualConfig(video=standard), ()
    depth = _depth(tuple(_num_blocks(shapes, f"video_model.conv{i}x") for i in (2, 3, 4, 5)))
    small = depth == 10
    width = _dim(shapes, "video_model.conv1.0.weight", 0, default=64)
    assumed = (
        (
            "depth 10 is taken for the network of the paper's ablations: no pooling in the video "
            "stem, stride 1 in the first audio block",
        )
        if small
        else ()
    )
    video = R2Plus1DConfig(depth=depth, width=width, stem_pool=not small)
    if layout != "avid":
        return AudioVisualConfig(video=video), assumed
    audio = AudioNetConfig(
        width=_dim(shapes, "audio_model.conv1.0.weight", 0, default=64),
        in_channels=_dim(shapes, "audio_model.conv1.0.weight", 1, default=1),
        first_block_stride=1 if small else 2,
    )
    return (
        AudioVisualConfig(
            video=video,
            audio=audio,
            video_proj=_head(shapes, "video_proj", in_dim=8 * width),
            audio_proj=_head(shapes, "audio_proj", in_dim=8 * audio.width),
        ),
        assumed,
    )


def _num_blocks(shapes: Mapping[str, tuple[int, ...]], stage: str) -> int:
    """Blocks of a stage; a stage that is a block itself counts as one."""
    pattern = re.compile(re.escape(stage) + r"\.(\d+)\.")
    numbers = {match[1] for name in shapes if (match := pattern.match(name))}
    return len(numbers) or int(any(name.startswith(f"{stage}.") for name in shapes))


def _depth(blocks: tuple[int, ...]) -> Literal[10, 18, 34]:
    for depth in (10, 18, 34):
        if BLOCKS_PER_STAGE[depth] == blocks:
            return depth  # type: ignore[return-value]
    known = ", ".join(f"{b} (depth {d})" for d, b in BLOCKS_PER_STAGE.items())
    raise ValueError(f"its video network has {blocks} blocks in its stages; known are {known}")


def _head(shapes: Mapping[str, tuple[int, ...]], part: str, *, in_dim: int) -> ProjectionConfig:
    pattern = re.compile(rf"{part}\.projection\.(\d+)\.weight")
    found = {int(match[1]): name for name in shapes if (match := pattern.fullmatch(name))}
    layers = [shapes[found[position]] for position in sorted(found)]
    if not layers or any(len(shape) != 2 for shape in layers):
        return ProjectionConfig()
    hidden = layers[0][0] if len(layers) > 1 else in_dim
    return ProjectionConfig(
        embedding_dim=layers[-1][0],
        num_hidden=len(layers) - 1,
        hidden_width=None if hidden == in_dim else hidden,
    )


def _dim(shapes: Mapping[str, tuple[int, ...]], name: str, axis: int, *, default: int) -> int:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else default
