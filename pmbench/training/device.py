"""The device that trains a stage: Lightning Fabric gives device and process group, torch the precision."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError


@dataclass
class Accelerator:
    """The device of one process. `shard` is (rank, processes); the process of rank 0 writes the results."""

    fabric: Any
    device: torch.device
    shard: tuple[int, int]
    mixed: bool

    @property
    def first(self) -> bool:
        return self.shard[0] == 0

    def peak_memory(self) -> int | None:
        """Peak GPU memory of tensors in bytes, since the accelerator was made; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def autocast(self, on: bool = True) -> contextlib.AbstractContextManager[Any]:
        """Context of mixed precision, off with `on=False`; does nothing if the recipe has full precision.

        The weight cache is off: a cached bf16 copy would outlive the optimizer step, and the terms of a
        second group would use weights from before the step of the first.
        """
        if not self.mixed:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on, cache_enabled=False)

    def backward(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Accumulates the gradients of `loss` in `parameters` and in no others.

        Gradients get the memory layout of their parameters, which fused optimizers assume; those returned by
        `torch.autograd.grad` may not have it.
        """
        self.fabric.backward(loss, inputs=parameters)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replaces gradients by their mean over all processes, in the memory layout of the parameters.

        A gradient that is None counts as zero; it stays None if no process has one, so that no optimizer
        updates its parameter.
        """
        if self.shard[1] == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        found = gradients[0].new_tensor([p.grad is not None for p in parameters])
        pieces = [*(g.reshape(-1) for g in gradients), found]
        flat = self.fabric.all_reduce(torch.cat(pieces), reduce_op="mean")
        *means, shares = flat.split([piece.numel() for piece in pieces])
        for p, mean, share in zip(parameters, means, shares.tolist(), strict=True):
            p.grad = torch.empty_like(p).copy_(mean.view(p.shape)) if share else None

    def average_buffers(self, nets: nn.Module) -> None:
        """Broadcasts the buffers (batch-norm statistics) of the first process to all."""
        if self.shard[1] > 1:
            for buffer in nets.buffers():
                torch.distributed.broadcast(buffer, 0)


def make_fabric(device: str, devices: int) -> Any:
    """A Fabric for `device` ("cpu", "cuda", "cuda:1"); raises UsageError unless it is available."""
    from lightning_fabric import Fabric

    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f"unknown device {device!r}", "choose cpu, cuda or cuda:N")
    if number and devices > 1:
        raise UsageError(f"{devices} devices requested, but {device!r} is one", "use --device cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} requested, but torch finds no GPU", "use --device cpu")
    available = torch.cuda.device_count()
    if kind == "cuda" and max(devices, int(number or 0) + 1) > available:
        raise UsageError(
            f"{devices} of {device!r} requested, but the available GPUs are cuda:0 to cuda:{available - 1}",
            "lower --devices, or choose another --device",
        )
    selected: Any = [int(number)] if number else devices
    strategy = "ddp_spawn" if devices > 1 else "auto"
    return Fabric(accelerator=kind, devices=selected, strategy=strategy)


def make_exact() -> None:
    """Makes CUDA deterministic, and float32 computations full precision.

    By default a float32 convolution rounds its inputs to TF32, which has 10 bits of mantissa.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, at start
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)


@contextlib.contextmanager
def nondeterministic_operations() -> Iterator[set[str]]:
    """Collects the names of nondeterministic operations inside, in place of torch's warnings about them."""
    found, show, mark = set[str](), warnings.showwarning, " does not have a deterministic implementation"

    def note(message: Any, *args: Any, **kwargs: Any) -> None:
        operation, matched, _ = str(message).partition(mark)
        if matched:
            found.add(operation)
        else:
            show(message, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.filterwarnings("default", f".*{mark}")
        warnings.showwarning = note
        yield found


def accelerator(fabric: Any, mixed: bool) -> Accelerator:
    """The accelerator of this process; `fabric` is launched already."""
    if fabric.device.type == "cuda":
        make_exact()
        torch.cuda.reset_peak_memory_stats(fabric.device)
    return Accelerator(fabric, fabric.device, (fabric.global_rank, fabric.world_size), mixed)
