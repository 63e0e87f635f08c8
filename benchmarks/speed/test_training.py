"""Training time of pmbench and of a hand-written loop with the same network, batches and epochs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

from pmbench.plugins import load_plugins
from pmbench.run.plan import PlannedCell, Request, make_plan
from pmbench.run.worker import Resources, Train, perform, set_threads
from pmbench.store.store import Store
from pmbench.training.bench import EngineBench, checked_build
from pmbench.training.loop import Training
from pmbench.training.samples import read_rows, training_view

EPOCHS, ROUNDS = 4, 5


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Seconds of the rounds of both functions, alternating so that load of the machine affects both."""
    our_times: list[float] = []
    their_times: list[float] = []
    for _ in range(ROUNDS):
        for function, times in ((theirs, their_times), (ours, our_times)):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
    return our_times, their_times


def planned(protocol: str, width: int, batch: int, data: Path, store: Path) -> PlannedCell:
    """`target_only` on `hapt`."""
    request = Request(
        ("target_only",),
        ("hapt",),
        (protocol,),
        (f"cnn1d-{width}",),
        (0,),
        (f"recipe.batch_size={batch}", f"recipe.epochs={EPOCHS}"),
        references=False,
    )
    return make_plan(request, load_plugins(), data, Store(store)).cells[0]


def training_of(cell: PlannedCell, data: Path, folder: Path) -> Callable[[], None]:
    """A function that trains the cell's stage, each time into a new store below `folder`."""
    fresh = iter(range(1000))

    def train() -> None:
        resources = Resources(folder / str(next(fresh)), data)
        perform(Train(cell.key, cell.stages, cell.spec), resources)

    return train


@pytest.mark.parametrize(
    ("protocol", "width", "batch", "limit"),
    [
        ("few-10", 16, 64, 1.05),
        ("few-10", 8, 16, 1.10),
        ("cross-subject", 16, 64, None),
        ("cross-subject", 8, 16, None),
    ],
)
def test_overhead_over_a_hand_written_loop(
    protocol: str,
    width: int,
    batch: int,
    limit: float | None,
    data: Path,
    tmp_path: Path,
    benchmark: BenchmarkFixture,
) -> None:
    set_threads(1)
    cell = planned(protocol, width, batch, data, tmp_path)
    ours = training_of(cell, data, tmp_path)
    hand = HandWritten(cell, data)
    ours()
    hand()
    our_times, hand_times = alternate(ours, hand)
    ratio = statistics.median(a / b for a, b in zip(our_times, hand_times, strict=True))
    seconds = statistics.median(hand_times)
    benchmark.extra_info |= {"ratio": round(ratio, 3), "hand_written_s": round(seconds, 3)}
    benchmark.pedantic(ours, rounds=1)
    print(
        f"\n{protocol} cnn1d-{width} batch {batch}: pmbench / hand-written = {ratio:.3f} "
        f"({statistics.median(our_times):.2f} s / {seconds:.2f} s, {EPOCHS} epochs)"
    )
    assert limit is None or ratio <= limit


class HandWritten:
    """A plain training loop: data in memory, AdamW, cosine schedule, no evaluation, no files."""

    def __init__(self, cell: PlannedCell, data: Path) -> None:
        from pmbench.data.prepared import open_prepared

        self.context, self.stage = cell.context, cell.method.last_stage(cell.setting)
        self.prepared = open_prepared(cell.context.dataset, data)
        view = training_view(self.prepared, cell.context.protocol, 0)
        indices = view.indices_for(self.stage)
        self.rows, self.labels = view.train.rows[indices], torch.from_numpy(view.train.labels[indices])
        cpu: Any = _Cpu()
        self.order = Training(self.stage, self.context, view, Store(data / "none"), cpu).order

    def network(self) -> Any:
        bench = EngineBench(self.stage, self.context, len(self.rows), None)
        return checked_build(self.stage, bench).student

    def inputs(self) -> torch.Tensor:
        column = self.prepared.column("train", "gyro")
        raw = torch.from_numpy(np.asarray(read_rows(column, self.rows), np.float32))
        return (raw - raw.mean((0, 2), keepdim=True)) / raw.std((0, 2), keepdim=True)

    def __call__(self) -> None:
        network, x = self.network(), self.inputs()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * self.order.steps)
        network.train()
        for epoch in range(EPOCHS):
            for rows in torch.from_numpy(self.order.epoch(epoch)):
                optimizer.zero_grad()
                loss = F.cross_entropy(network({"gyro": x[rows]}).logits, self.labels[rows])
                loss.backward()
                optimizer.step()
                schedule.step()


class _Cpu:
    device, shard, mixed, first = torch.device("cpu"), (0, 1), False, True
