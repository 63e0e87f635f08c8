"""Training time of pmbench and of the same training by Lightning's Trainer.

`uv run --with lightning pytest benchmarks/speed/test_other_loops.py -s`
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from test_training import EPOCHS, HandWritten, alternate, planned, training_of

from pmbench.run.worker import set_threads

lightning: Any = pytest.importorskip("lightning", reason="runs with `uv run --with lightning`")


class Lightning(HandWritten):
    """The same network, batches, optimizer and schedule; no logger, checkpoint or progress bar."""

    def __call__(self) -> None:
        network, labels, order, inputs = self.network(), self.labels, self.order, self.inputs()

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def training_step(self, rows: torch.Tensor, place: int) -> torch.Tensor:
                return F.cross_entropy(self.network({"gyro": inputs[rows]}).logits, labels[rows])

            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
                schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * order.steps)
                return {
                    "optimizer": optimizer,
                    "lr_scheduler": {"scheduler": schedule, "interval": "step"},
                }

        class Batches:
            epoch = 0

            def __len__(self) -> int:
                return order.steps

            def __iter__(self) -> Any:
                self.epoch += 1
                return iter(torch.from_numpy(order.epoch(self.epoch - 1)))

        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(), Batches())


@pytest.mark.parametrize(("width", "batch"), [(16, 64), (8, 16)])
def test_lightning(width: int, batch: int, data: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    set_threads(1)
    cell = planned("few-10", width, batch, data, tmp_path)
    ours, theirs = training_of(cell, data, tmp_path), Lightning(cell, data)
    ours()
    theirs()
    our_times, their_times = alternate(ours, theirs)
    ratio = statistics.median(a / b for a, b in zip(our_times, their_times, strict=True))
    benchmark.extra_info["pmbench / Lightning"] = round(ratio, 3)
    benchmark.pedantic(theirs, rounds=1)
    print(f"\ncnn1d-{width} batch {batch}: pmbench / Lightning = {ratio:.2f}")
    assert ratio <= 1.05
