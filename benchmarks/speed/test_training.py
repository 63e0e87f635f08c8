"""Training through pmbench against a hand-written loop: same network, same batches, same epochs, taken in
turns.
"""

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


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Seconds of each, alternating, so that a noisy machine disturbs both alike."""
    mine, other = [], []
    for _ in range(ROUNDS):
        for function, times in ((theirs, other), (ours, mine)):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
    return mine, other


@pytest.mark.parametrize(
    ("protocol", "width", "batch", "limit"),
    [
        ("few-10", 16, 64, 1.05),
        ("few-10", 8, 16, 1.10),
        ("cross-subject", 16, 64, None),
        ("cross-subject", 8, 16, None),
    ],
)
def test_a_stage_costs_what_a_hand_written_loop_costs(
    protocol: str,
    width: int,
    batch: int,
    limit: float | None,
    data: Path,
    tmp_path: Path,
    benchmark: BenchmarkFixture,
) -> None:
    set_threads(1)
    request = Request(
        ("target_only",),
        ("hapt",),
        (protocol,),
        (f"cnn1d-{width}",),
        (0,),
        (f"recipe.batch_size={batch}", f"recipe.epochs={EPOCHS}"),
        references=False,
    )
    cell = make_plan(request, load_plugins(), data, Store(tmp_path)).cells[0]
    assert cell.stage is not None
    fresh = iter(range(1000))

    def ours() -> None:
        resources = Resources(tmp_path / str(next(fresh)), data)
        perform(Train(cell.key, cell.stage, cell.spec), resources)  # type: ignore[arg-type]

    hand = HandWritten(cell, data)
    ours(), hand()
    mine, other = in_turns(ours, hand)
    ratio = statistics.median(m / o for m, o in zip(mine, other, strict=True))
    benchmark.extra_info |= {"ratio": round(ratio, 3), "hand_written_s": round(statistics.median(other), 3)}
    benchmark.pedantic(ours, rounds=1)
    print(
        f"\n{protocol} cnn1d-{width} batch {batch}: pmbench / hand-written = {ratio:.3f} "
        f"({statistics.median(mine):.2f} s / {statistics.median(other):.2f} s, {EPOCHS} epochs)"
    )
    assert limit is None or ratio <= limit


class HandWritten:
    """The loop that a careful person would write: data in memory, AdamW, cosine schedule, no evaluation, no
    files.
    """

    def __init__(self, cell: PlannedCell, data: Path) -> None:
        from pmbench.data.prepared import open_prepared

        self.cell = cell
        self.prepared = open_prepared(cell.context.dataset, data)
        view = training_view(self.prepared, cell.context.protocol, 0)
        assert cell.stage is not None
        handed = view.indices_for(cell.stage)
        self.rows, self.labels = view.train.rows[handed], torch.from_numpy(view.train.labels[handed])
        self.order = Training(cell.stage, cell.context, view, Store(data / "none"), _Cpu()).order  # type: ignore[arg-type]

    def __call__(self) -> None:
        bench = EngineBench(self.cell.stage, self.cell.context, len(self.rows), None)  # type: ignore[arg-type]
        network = checked_build(self.cell.stage, bench).student  # type: ignore[arg-type]
        raw = torch.from_numpy(
            np.asarray(read_rows(self.prepared.column("train", "gyro"), self.rows), np.float32)
        )
        x = (raw - raw.mean((0, 2), keepdim=True)) / raw.std((0, 2), keepdim=True)
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
