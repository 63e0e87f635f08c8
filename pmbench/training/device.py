"""Devices: Lightning Fabric sets up device and process group, torch the precision."""

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
    """Device of one process. `shard` is (rank, number of processes); rank 0 validates and writes."""

    fabric: Any
    device: torch.device
    shard: tuple[int, int]
    mixed: bool

    @property
    def first(self) -> bool:
        return self.shard[0] == 0

    def peak_memory(self) -> int | None:
        """Peak GPU memory of tensors in bytes; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def autocast(self, on: bool = True) -> contextlib.AbstractContextManager[Any]:
        """Autocast to bf16 if the recipe asks for it; `on=False` disables it inside.

        The cache of bf16 weights is off: it would outlive an optimizer step, and the terms of a second group
        would see the weights from before the step of the first.
        """
        if not self.mixed:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on, cache_enabled=False)

    def backward(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Accumulates gradients of `loss` into `parameters` alone.

        They have the memory layout of the parameters, as fused optimizers require; gradients from
        `torch.autograd.grad` may not.
        """
        self.fabric.backward(loss, inputs=parameters)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Averages gradients over processes. A missing gradient counts as zero; `grad` stays None if no
        process has one, so that no optimizer moves the parameter. Memory layouts are as in `backward`.
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
        """Broadcasts the buffers (batch-norm statistics) of rank 0."""
        if self.shard[1] > 1:
            for buffer in nets.buffers():
                torch.distributed.broadcast(buffer, 0)


def make_fabric(device: str, devices: int) -> Any:
    """A Fabric for `device` ("cpu", "cuda", "cuda:1"); raises UsageError if it is not available."""
    from lightning_fabric import Fabric

    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f"unknown device {device!r}", "choose cpu, cuda or cuda:N")
    if number and devices > 1:
        raise UsageError(f"{devices} devices were asked for, but {device!r} is one", "use --device cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} was asked for, but torch finds no GPU", "use --device cpu")
    count = torch.cuda.device_count()
    if kind == "cuda" and max(devices, int(number or 0) + 1) > count:
        raise UsageError(
            f"{devices} of {device!r} asked for, but the available GPUs are cuda:0 to cuda:{count - 1}",
            "lower --devices, or choose another --device",
        )
    wanted: Any = [int(number)] if number else devices
    strategy = "ddp_spawn" if devices > 1 else "auto"
    return Fabric(accelerator=kind, devices=wanted, strategy=strategy)


def make_exact() -> None:
    """Makes CUDA deterministic and turns TF32 off, to which float32 convolutions are rounded by default."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)


@contextlib.contextmanager
def unrepeatable() -> Iterator[set[str]]:
    """Collects names of operations without a deterministic implementation, instead of torch's warnings."""
    found, show, mark = set[str](), warnings.showwarning, " does not have a deterministic implementation"

    def note(message: Any, *where: Any, **how: Any) -> None:
        operation, known, _ = str(message).partition(mark)
        if known:
            found.add(operation)
        else:
            show(message, *where, **how)

    with warnings.catch_warnings():
        warnings.filterwarnings("default", f".*{mark}")
        warnings.showwarning = note
        yield found


def accelerator(fabric: Any, mixed: bool) -> Accelerator:
    """The accelerator of this process; `fabric` must be launched."""
    if fabric.device.type == "cuda":
        make_exact()
        torch.cuda.reset_peak_memory_stats(fabric.device)
    return Accelerator(fabric, fabric.device, (fabric.global_rank, fabric.world_size), mixed)
