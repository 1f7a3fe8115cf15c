"""A CUDA device that is only pretended: tensors that say they lie on it are on the CPU.

For tests of code for CUDA where there is none. Values are computed as on the CPU. What such a
device would refuse is an error, and where the host would wait for it is noted:

- operations on tensors of both places, but for copies, indices and single numbers;
- random numbers of a generator of the other place;
- numpy's view of a tensor that lies there;
- reading a value (`float`, `.item()`, `.cpu()`, a mask as an index, ...): in `waits`.

Which tensors lie there follows from their storages. A tensor that torch itself makes lies where
the tensors lie that it was called with. Streams are those of `pretend_streams.py`. Not pretended:
pinned memory, kernels and their rounding, memory that runs out.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # before anything is replaced: random numbers import it
from pretend_streams import Streams
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)

_aten = torch.ops.aten
_BETWEEN_PLACES = {_aten.copy_.default, _aten._to_copy.default, _aten.set_.source_Tensor}
_INDICES_ANYWHERE = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default}
_JOINS = {_aten.cat.default, _aten.stack.default}
_READS_VALUES = {
    _aten._local_scalar_dense.default: "reads a value",
    _aten.nonzero.default: "nonzero",
    _aten.masked_select.default: "masked_select",
    _aten._unique2.default: "unique",
    _aten.unique_dim.default: "unique",
    _aten.unique_consecutive.default: "unique",
    _aten.bincount.default: "bincount",
    _aten.equal.default: "equal",
    _aten.repeat_interleave.Tensor: "repeat_interleave",
}


def _batch_norm_stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The kernel that CUDA alone has: mean and inverse deviation, which is 0 without variance."""
    var, mean = torch.var_mean(x.float(), dim=[0, *range(2, x.ndim)], correction=0)
    return mean, torch.where(var + eps > 0, (var + eps).rsqrt(), 0.0)


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, *args: Any
) -> tuple[Tensor | None, ...]:
    """Gradients in float32 where the input is smaller than the kernel.

    In bf16, oneDNN's gradient of the weights is then made of memory that nobody wrote (torch 2.11);
    CUDA's is not.
    """
    backward = _aten.convolution_backward.default
    small = any(size < kernel for size, kernel in zip(x.shape[2:], weight.shape[2:], strict=True))
    if not small or x.dtype != torch.bfloat16:
        return backward(grad, x, weight, *args)
    made = backward(grad.float(), x.float(), weight.float(), *args)
    return tuple(gradient if gradient is None else gradient.bfloat16() for gradient in made)


_KERNELS: dict[Any, Callable[..., Any]] = {
    _aten.batch_norm_stats.default: _batch_norm_stats,
    _aten.convolution_backward.default: _convolution_backward,
}


class WrongDeviceError(RuntimeError):
    """What CUDA would refuse."""


class PretendCuda:
    """What is noted while `pretend_cuda` is active."""

    def __init__(self) -> None:
        self.storages: dict[int, torch.UntypedStorage] = {}
        """That lie on the device; kept alive, so that none takes the place of another."""
        self.waits: list[str] = []
        """Where the host would wait: what for, and the line of the project."""
        self.streams = Streams(self.see)
        self._local = threading.local()

    @property
    def here(self) -> list[bool]:
        """Whether this thread's functions under way were called with tensors of the device."""
        if not hasattr(self._local, "here"):
            self._local.here = []
        here: list[bool] = self._local.here
        return here

    @contextmanager
    def see(self) -> Iterator[None]:
        """Have this thread see the device, if it does not yet."""
        if getattr(self._local, "sees", False):
            yield
            return
        self._local.sees = True
        try:
            with _Operations(self), _Functions(self):
                yield
        finally:
            self._local.sees = False

    def lies_there(self, tensor: Tensor) -> bool:
        """Whether the tensor pretends to lie on the device."""
        with torch._C.DisableTorchFunction():
            return tensor.untyped_storage()._cdata in self.storages

    def put(self, value: Any) -> Any:
        """Have all tensors in the value lie there."""
        with torch._C.DisableTorchFunction():
            for tensor in tree_leaves(value):
                if isinstance(tensor, Tensor):
                    storage = tensor.untyped_storage()
                    self.storages[storage._cdata] = storage
        return value

    def take(self, tensor: Tensor) -> None:
        """Have the tensor lie on the host."""
        with torch._C.DisableTorchFunction():
            del self.storages[tensor.untyped_storage()._cdata]

    def any_there(self, values: Any) -> bool:
        """Whether a tensor in the values lies there."""
        return any(isinstance(v, Tensor) and self.lies_there(v) for v in tree_leaves(values))

    def wait(self, what: str) -> None:
        """Note that the host waits."""
        lines = [
            f"{frame.filename.rpartition('/avtrain/')[2]}:{frame.lineno} {frame.line}"
            for frame in traceback.extract_stack()
            if "/avtrain/" in frame.filename and "/tests/" not in frame.filename
        ]
        self.waits.append(f"{what}: {lines[-1] if lines else '(outside of avtrain)'}")


class _Generator(torch.Generator):
    """In the place of `torch.Generator`."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        made = super().__new__(cls)
        made._device = CUDA if torch.device(device).type == "cuda" else torch.device("cpu")
        return made

    @property
    def device(self) -> torch.device:
        return self._device


class _Functions(TorchFunctionMode):
    """Sees calls before torch looks at devices."""

    def __init__(self, pretended: PretendCuda) -> None:
        super().__init__()
        self.of = pretended

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        of = self.of
        there = of.any_there((args, kwargs))
        if func == Tensor.device.__get__:
            return CUDA if there else func(*args)
        if func == Tensor.is_cuda.__get__:
            return there
        if func == Tensor.is_cpu.__get__:
            return not there
        if func is Tensor.pin_memory:
            return args[0]
        kwargs.pop("pin_memory", None)
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._to(func, args, kwargs, there=there)
        if there and func in (Tensor.numpy, Tensor.__array__):
            raise WrongDeviceError("can't convert a tensor on CUDA to numpy; copy it to the host")
        device = kwargs.get("device")
        made_there = device is not None and torch.device(device).type == "cuda"
        if made_there:
            kwargs["device"] = "cpu"
            if func is torch.tensor or func is torch.as_tensor:
                of.wait("a tensor made of numbers of the host")
        generator = kwargs.get("generator")
        if isinstance(generator, _Generator) and (
            (generator.device.type == "cuda") != (made_there or there)
        ):
            place = "the device" if made_there or there else "the host"
            raise WrongDeviceError(f"random numbers on {place} of a generator of the other")
        of.here.append(made_there or (there and device is None))
        try:
            if func is Tensor.backward:  # not a call into torch alone: parts may be computed again
                with self:
                    return torch.autograd.backward(args[0], kwargs.get("gradient"))
            result = func(*args, **kwargs)
        finally:
            of.here.pop()
        return of.put(result) if made_there else result

    def _to(self, func: Any, args: Any, kwargs: dict[str, Any], *, there: bool) -> Tensor:
        of, (tensor, *rest) = self.of, args
        if func is Tensor.cpu:
            target, dtype, non_blocking, form = torch.device("cpu"), None, False, None
        elif func is Tensor.cuda:
            target, dtype, non_blocking, form = CUDA, None, False, None
        else:
            if rest and isinstance(rest[0], Tensor):
                target = CUDA if of.lies_there(rest[0]) else torch.device("cpu")
                dtype, non_blocking, form = rest[0].dtype, kwargs.get("non_blocking", False), None
            else:
                copy = kwargs.pop("copy", False)
                target, dtype, non_blocking, form = torch._C._nn._parse_to(*rest, **kwargs)
                kwargs["copy"] = copy
        with torch._C.DisableTorchFunction():
            same = target is None or (target.type == "cuda") == there
            stream = of.streams.current
            if stream is not None and non_blocking and not same and dtype in (None, tensor.dtype):
                return of.put(stream.copy(tensor))
            made = tensor.to(
                dtype=dtype or tensor.dtype, copy=not same or kwargs.get("copy", False)
            )
            if form is not None:
                made = made.contiguous(memory_format=form)
        if not same and not non_blocking:
            of.wait("a copy from the device" if there else "a copy to the device")
        if not same:
            of.put(made) if target.type == "cuda" else of.take(made)
        return made


class _Operations(TorchDispatchMode):
    """Sees what torch computes in the end, gradients and optimizers too."""

    def __init__(self, pretended: PretendCuda) -> None:
        super().__init__()
        self.of = pretended

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs, of = kwargs or {}, self.of
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        places = [of.lies_there(tensor) for tensor in tensors]
        there = any(places)
        if there and not all(places) and func not in _BETWEEN_PLACES:
            self._check(func, args, kwargs)
        if there:
            self._note_waits(func, args)
        result = _KERNELS.get(func, func)(*args, **kwargs)
        if func in _BETWEEN_PLACES:
            if func is _aten._to_copy.default and there:
                of.put(result)
            if (
                func is _aten.copy_.default
                and len(set(places)) == 2
                and not _non_blocking(args, kwargs)
            ):
                of.wait("a copy to the device" if places[0] else "a copy from the device")
            return result
        made_there = there or (not tensors and bool(of.here) and of.here[-1])
        return of.put(result) if made_there else result

    def _check(self, func: Any, args: Any, kwargs: Any) -> None:
        if func in _INDICES_ANYWHERE:
            self_, _, *values = args
            operands = [self_, *(v for v in values if isinstance(v, Tensor) and v.ndim)]
        elif func in _JOINS:
            operands = [t for t in tree_leaves(args) if isinstance(t, Tensor)]
        else:
            leaves = tree_leaves((args, kwargs))
            operands = [t for t in leaves if isinstance(t, Tensor) and t.ndim]
        if len({self.of.lies_there(tensor) for tensor in operands}) == 2:
            shapes = [
                f"{'cuda' if self.of.lies_there(t) else 'cpu'}{list(t.shape)}" for t in operands[:8]
            ]
            raise WrongDeviceError(f"{func} of tensors on the host and on the device: {shapes}")

    def _note_waits(self, func: Any, args: Any) -> None:
        if func in _READS_VALUES:
            self.of.wait(_READS_VALUES[func])
        elif func in _INDICES_ANYWHERE and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        ):
            self.of.wait("a mask as an index")
        elif func in _INDICES_ANYWHERE and any(
            index is not None and not self.of.lies_there(index) for index in args[1]
        ):
            self.of.wait("indices of the host")


def _non_blocking(args: Any, kwargs: Any) -> bool:
    return bool(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))


@contextmanager
def pretend_cuda() -> Iterator[PretendCuda]:
    """Tensors can be made on "cuda" and moved there."""
    pretended = PretendCuda()
    autocast = torch.autocast
    group = _foreach_utils._group_tensors_by_device_and_dtype

    def group_here(tensorlistlist: Any, *args: Any, **kwargs: Any) -> Any:
        groups = group(tensorlistlist, *args, **kwargs)
        return {
            (CUDA if pretended.any_there(found[0]) else place, dtype): found
            for (place, dtype), found in groups.items()
        }

    def autocast_here(device_type: str, *args: Any, **kwargs: Any) -> torch.autocast:
        return autocast("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "autocast", autocast_here))
        stack.enter_context(mock.patch.object(torch, "Generator", _Generator))
        for module in (clip_grad, _foreach_utils):  # asks for devices below what modes see
            stack.enter_context(
                mock.patch.object(module, "_group_tensors_by_device_and_dtype", group_here)
            )
        stack.enter_context(mock.patch.object(Tensor, "record_stream"))
        for name, replaced in pretended.streams.functions().items():
            stack.enter_context(mock.patch.object(torch.cuda, name, replaced))
        stack.enter_context(pretended.see())
        yield pretended
