"""Video and audio encoder, each with a head: the model of AVID, CMA and their relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator
from torch import Tensor, nn

from avtrain.models.config import NetConfig
from avtrain.models.conv_audio import AudioNetConfig, ConvAudio
from avtrain.models.projection import Projection, ProjectionConfig
from avtrain.models.r2plus1d import R2Plus1D, R2Plus1DConfig
from avtrain.models.standard_r2plus1d import StandardR2Plus1D, StandardR2Plus1DConfig

if TYPE_CHECKING:
    from jaxtyping import Float

VideoNet = R2Plus1D | StandardR2Plus1D


def _video_kind(value: object) -> object:
    """Which of the video networks a table or an object describes; without a word, AVID's."""
    if isinstance(value, dict):
        return value.get("kind", "avid")
    return getattr(value, "kind", None)


VideoNetConfig = Annotated[
    Annotated[R2Plus1DConfig, Tag("avid")] | Annotated[StandardR2Plus1DConfig, Tag("standard")],
    Discriminator(_video_kind),
]


class AudioVisualConfig(NetConfig):
    """The four parts of a two-stream model; the defaults are the released models."""

    video: VideoNetConfig = Field(default_factory=R2Plus1DConfig)
    audio: AudioNetConfig = Field(default_factory=AudioNetConfig)
    video_proj: ProjectionConfig = Field(default_factory=ProjectionConfig)
    audio_proj: ProjectionConfig = Field(default_factory=ProjectionConfig)

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        video_dim, audio_dim = self.video_proj.embedding_dim, self.audio_proj.embedding_dim
        if video_dim != audio_dim:
            raise ValueError(
                f"video_proj.embedding_dim={video_dim} and audio_proj.embedding_dim={audio_dim} "
                "must be equal: both modalities are compared in one space"
            )
        return self


class AudioVisualModel(nn.Module):
    """Two encoders and two heads; the state dict has the names of the published checkpoints.

    The weights are drawn by torch's default rules from the global generator: fork it outside.
    """

    def __init__(
        self,
        *,
        video_model: VideoNet,
        audio_model: ConvAudio,
        video_proj: Projection,
        audio_proj: Projection,
    ) -> None:
        super().__init__()
        # in this order: published optimizer states are mapped by position
        self.video_model = video_model
        self.audio_model = audio_model
        self.video_proj = video_proj
        self.audio_proj = audio_proj

    @property
    def embedding_dim(self) -> int:
        """Length of each of the two embeddings."""
        return self.video_proj.embedding_dim

    def forward(
        self, video: Float[Tensor, "b 3 t h w"], audio: Float[Tensor, "b c s f"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Video embedding and audio embedding, not normalized."""
        return self.embed_video(video), self.embed_audio(audio)

    def embed_video(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Video embedding, not normalized."""
        embedding: Tensor = self.video_proj(self.video_model(video))
        return embedding

    def embed_audio(self, audio: Float[Tensor, "b c s f"]) -> Float[Tensor, "b d"]:
        """Audio embedding, not normalized."""
        embedding: Tensor = self.audio_proj(self.audio_model(audio))
        return embedding


def build_video_net(config: R2Plus1DConfig | StandardR2Plus1DConfig) -> VideoNet:
    """A new video network with random weights."""
    if isinstance(config, StandardR2Plus1DConfig):
        return StandardR2Plus1D(config)
    return R2Plus1D(config)


def build_audio_visual(config: AudioVisualConfig) -> AudioVisualModel:
    """A new model with random weights."""
    video_model = build_video_net(config.video)
    audio_model = ConvAudio(config.audio)
    return AudioVisualModel(
        video_model=video_model,
        audio_model=audio_model,
        video_proj=Projection(config.video_proj, in_dim=video_model.embedding_dim),
        audio_proj=Projection(config.audio_proj, in_dim=audio_model.embedding_dim),
    )
