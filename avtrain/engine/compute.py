"""How networks are computed: precision, memory layout, compilation."""

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from avtrain.engine.config import ComputeConfig
from avtrain.errors import AvtrainError
from avtrain.models.batch_renorm import BatchNorm
from avtrain.objectives.across_ranks import num_ranks

logger = logging.getLogger(__name__)

_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def cpu_multiplies_bf16() -> bool:
    """Whether this processor has instructions for bf16; without them it is many times slower."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _BF16_INSTRUCTIONS)


def uses_bf16(config: ComputeConfig, device: torch.device) -> bool:
    """Whether networks compute in bf16 on the device, by the precision of the settings."""
    if config.precision == "fast" and device.type == "cpu":
        return cpu_multiplies_bf16()
    if config.precision in ("auto", "fast"):
        return device.type == "cuda"
    return config.precision == "bf16"


def autocast(config: ComputeConfig, device: torch.device) -> torch.autocast:
    """Context in which networks compute with the precision of the settings."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bf16(config, device))


def set_up_compute(networks: nn.Module, config: ComputeConfig, device: torch.device) -> None:
    """Change the networks, in place, to how they are computed; their state dict stays the same.

    Raises:
        AvtrainError: Batch normalization cannot be synchronized here.
    """
    if device.type == "cpu":
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        elif config.precision == "fast" and uses_bf16(config, device):
            torch.set_num_threads(1)
        if config.precision == "bf16" and not cpu_multiplies_bf16():
            logger.warning(
                "this processor has no instructions for bf16, so compute.precision=bf16 is many "
                "times slower than float32; compute.precision=fast takes bf16 only where there are"
            )
        if uses_bf16(config, device):
            keep_small_convolutions_float32(networks)
    if config.sync_batch_norm and num_ranks() > 1:
        if device.type != "cuda":
            raise AvtrainError(
                "compute.sync_batch_norm=true needs CUDA, this run is on the CPU; set it to false"
            )
        synchronize_batch_norm(networks)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes are the same in every step
        torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = config.tf32
    if config.channels_last:
        lay_out_channels_last(networks)
    if config.compile:
        networks.compile()


def synchronize_batch_norm(networks: nn.Module) -> None:
    """Have torch's batch normalizations, in place, take their statistics over all ranks.

    Raises:
        AvtrainError: The networks have batch normalizations of their own, which would stay alone.
    """
    alone = [name for name, module in networks.named_modules() if isinstance(module, BatchNorm)]
    if alone:
        raise AvtrainError(
            f"compute.sync_batch_norm=true does not reach {len(alone)} normalizations of these "
            f"networks, such as {alone[0]}: each rank would go by its own part of the batch, as "
            "in the published training. Set compute.sync_batch_norm=false; with few clips a rank, "
            'take the network as a table with norm = "group", which knows no batch'
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(networks)  # type: ignore[no-untyped-call]


def keep_small_convolutions_float32(networks: nn.Module) -> None:
    """Have convolutions compute in float32 where their input is smaller than their kernel.

    In bf16 on a CPU, oneDNN's gradient of the weights is then made of memory that nobody wrote
    (torch 2.11): wrong, sometimes not finite, sometimes a corrupted heap.
    """
    for module in networks.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            module.forward = partial(_convolve, module)  # type: ignore[method-assign]


def _convolve(convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d, inputs: Tensor) -> Tensor:
    convolve: Callable[..., Tensor] = type(convolution).forward
    sizes = zip(inputs.shape[2:], convolution.kernel_size, strict=True)
    if all(size >= kernel for size, kernel in sizes):
        return convolve(convolution, inputs)
    with torch.autocast(inputs.device.type, enabled=False):
        return convolve(convolution, inputs.float())


def lay_out_channels_last(networks: nn.Module) -> None:
    """Give weights of 2-D and 3-D convolutions the layout that their outputs then take too."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in networks.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
