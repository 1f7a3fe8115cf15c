"""Batch normalization and batch renormalization with the moving averages of TensorFlow.

Both estimate what they use in evaluation by an exponential average of slow decay, here without the
bias towards its start: after few steps it is the mean of them, after many that of TensorFlow.

Reference: Ioffe 2017, "Batch Renormalization", algorithm 1; tf.layers.batch_normalization.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float

Corrections = tuple[Tensor, Tensor]
Memo = dict[nn.Module, Corrections]


class BatchNorm(nn.Module):
    """Batch normalization over all axes but channels; statistics are float32, of any input type.

    Departures: the average that evaluation uses is corrected for its start, which TensorFlow does
    not; with decay 0.9997 the uncorrected one is still half the initial value after 2300 steps.
    """

    unit: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, *, eps: float, decay: float, gamma: bool) -> None:
        """Normalization of `channels` channels.

        Args:
            channels: Of the input, its second axis.
            eps: Added to the variance.
            decay: Of the averages for evaluation: 1 - decay is what others call momentum.
            gamma: Learn a scale beside the shift; without one it is 1.
        """
        super().__init__()
        self.eps = eps
        self.decay = decay
        self.weight = nn.Parameter(torch.ones(channels)) if gamma else None
        self.bias = nn.Parameter(torch.zeros(channels))
        # in place of a missing gamma: the fast kernels want both weight and bias
        self.register_buffer("unit", torch.ones(channels), persistent=False)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self._memo: Memo | None = None
        self._replaying = False

    def extra_repr(self) -> str:
        """Settings in the printed form."""
        gamma = self.weight is not None
        return f"{len(self.bias)}, eps={self.eps}, decay={self.decay}, {gamma=}"

    @torch.no_grad()
    def reset_running_stats(self) -> None:
        """Forget all averages, as torch's own normalizations do under this name."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    @property
    def _scale(self) -> Tensor:
        return self.unit if self.weight is None else self.weight

    def forward(self, x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b c ..."]:
        """Normalized input, of its type."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self._scale, self.bias, eps=self.eps
            )
        return self._of_batch(x)

    def _of_batch(self, x: Tensor) -> Tensor:
        mean, var = torch.zeros_like(self.running_mean), torch.ones_like(self.running_var)
        # with momentum 1 the averages become the mean and the unbiased variance of the batch
        y = F.batch_norm(
            x, mean, var, self._scale, self.bias, training=True, momentum=1.0, eps=self.eps
        )
        if not self._replaying:
            self._average(mean, var)
        return y

    @torch.no_grad()
    def _average(self, mean: Tensor, var: Tensor) -> None:
        """Take the statistics of one more batch into those of evaluation."""
        self.num_batches_tracked += 1
        # (1 - decay) / (1 - decay^t): the weight of the newest of t terms, the sum of weights is 1
        share = (1 - self.decay) / (1 - self.decay ** self.num_batches_tracked.to(mean.dtype))
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var, share)


class BatchRenorm(BatchNorm):
    """Batch renormalization without bounds on its corrections r and d.

    In training the output is the input normalized with averages over batches, and the gradient
    that of batch normalization: r and d, from the averages before this batch, are constants.
    """

    renorm_mean: Tensor
    renorm_std: Tensor
    renorm_weight: Tensor

    def __init__(
        self, channels: int, *, eps: float, decay: float, gamma: bool, renorm_decay: float = 0.99
    ) -> None:
        """Renormalization of `channels` channels; see `BatchNorm` for the other arguments.

        Args:
            renorm_decay: Of the averages that training normalizes with; TensorFlow's default.
        """
        super().__init__(channels, eps=eps, decay=decay, gamma=gamma)
        self.renorm_decay = renorm_decay
        self.register_buffer("renorm_mean", torch.zeros(channels))
        self.register_buffer("renorm_std", torch.zeros(channels))
        self.register_buffer("renorm_weight", torch.tensor(0.0))

    @torch.no_grad()
    def reset_running_stats(self) -> None:
        """Forget all averages, those that training goes by too."""
        super().reset_running_stats()
        for average in (self.renorm_mean, self.renorm_std, self.renorm_weight):
            average.zero_()

    def _of_batch(self, x: Tensor) -> Tensor:
        r, d = self._corrections(x)
        scale, shift = r * self._scale, d * self._scale + self.bias
        return F.batch_norm(x, None, None, scale, shift, training=True, eps=self.eps)

    @torch.no_grad()
    def _corrections(self, x: Tensor) -> Corrections:
        """r and d of this batch; the averages take it up, unless it is computed again."""
        if self._replaying:
            assert self._memo is not None
            return self._memo[self]
        mean, std = batch_statistics(x, eps=self.eps)
        # averages as if they had begun with this batch
        rest = 1 - self.renorm_weight
        mixed_mean = self.renorm_mean + rest * mean
        mixed_std = self.renorm_std + rest * std
        r, d = std / mixed_std, (mean - mixed_mean) / mixed_std
        for average, value in (
            (self.renorm_mean, mean),
            (self.renorm_std, std),
            (self.renorm_weight, torch.ones_like(self.renorm_weight)),
        ):
            average.mul_(self.renorm_decay).add_(value, alpha=1 - self.renorm_decay)
        averaged_std = self.renorm_std / self.renorm_weight
        self._average(self.renorm_mean / self.renorm_weight, averaged_std.square() - self.eps)
        if self._memo is not None:
            self._memo[self] = (r, d)
        return r, d


def batch_statistics(
    x: Float[Tensor, "b c ..."], *, eps: float
) -> tuple[Float[Tensor, "c"], Float[Tensor, "c"]]:
    """Mean and deviation of each channel, float32 or wider.

    Args:
        x: float32, or narrower, or wider.
        eps: Added to the biased variance, above 0: the kernel of CUDA gives a channel that does not
            vary an inverse deviation of 0 without it.
    """
    if x.is_cuda and not torch.compiler.is_compiling():
        mean, inverse_std = torch.batch_norm_stats(x, eps)  # no float32 copy of the input
        return mean, inverse_std.reciprocal()
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    var, mean = torch.var_mean(x, dim=[0, *range(2, x.ndim)], correction=0)
    return mean, torch.sqrt(var + eps)


@contextmanager
def remembered(norms: Iterable[BatchNorm], memo: Memo) -> Iterator[None]:
    """While it holds, what the normalizations correct their batch with is kept in `memo`."""
    with _memo_set(norms, memo, replaying=False):
        yield


@contextmanager
def replayed(norms: Iterable[BatchNorm], memo: Memo) -> Iterator[None]:
    """While it holds, the normalizations compute a batch again: as before, counting it once.

    For activation checkpointing, which runs a forward a second time in the backward.
    """
    with _memo_set(norms, memo, replaying=True):
        yield


@contextmanager
def _memo_set(norms: Iterable[BatchNorm], memo: Memo, *, replaying: bool) -> Iterator[None]:
    norms = list(norms)
    for norm in norms:
        norm._memo, norm._replaying = memo, replaying
    try:
        yield
    finally:
        for norm in norms:
            norm._memo, norm._replaying = None, False
