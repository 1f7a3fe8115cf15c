"""The base of every network configuration: frozen, and an unknown key is an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class NetConfig(BaseModel):
    """Settings of one network."""

    model_config = ConfigDict(frozen=True, extra="forbid")
