"""From what a trained stage delivers to a program: what passes, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import engine_lab as toys
import numpy as np
import pytest
import torch
from torch import nn

import pmbench as pm
from pmbench.errors import SealError
from pmbench.evaluation.program import check_archive
from pmbench.evaluation.seal import seal
from pmbench.training.bench import delivered
from pmbench.training.samples import channel_stats_of


class Network(nn.Module):
    """A classifier of `near` whose logits are changed in one way."""

    def __init__(self, classifier, way):
        super().__init__()
        self.classifier, self.way = classifier, way
        self.norm = nn.BatchNorm1d(3, affine=False)
        self.register_buffer("calls", torch.zeros(()))
        self.kept = torch.arange(3.0)

    def forward(self, batch):
        output = self.classifier(batch)
        return getattr(self, self.way)(batch, output) if self.way else output

    def reads_labels(self, batch, output):
        return output._replace(logits=output.logits + batch.labels[:, None])

    def reads_index(self, batch, output):
        return output._replace(logits=output.logits + batch.index[:, None])

    def reads_progress(self, batch, output):
        return output._replace(logits=output.logits * batch.progress)

    def reads_privilege(self, batch, output):
        return output._replace(logits=output.logits + batch["far"][:, :3])

    def draws(self, batch, output):
        return output._replace(logits=output.logits + torch.randn_like(output.logits))

    def keeps_data(self, batch, output):
        return output._replace(logits=output.logits + self.kept)

    def compares_samples(self, batch, output):
        return output._replace(logits=output.logits - output.logits.mean(0))

    def normalizes_over_the_batch(self, batch, output):
        return output._replace(logits=nn.functional.batch_norm(output.logits, None, None, training=True))

    def counts_calls(self, batch, output):
        self.calls += 1
        return output._replace(logits=output.logits + 0 * self.calls)

    def overflows(self, batch, output):
        return output._replace(logits=output.logits / 0)

    def returns_logits(self, batch, output):
        return output.logits

    def branches_on_values(self, batch, output):
        return output if output.logits.sum() > 0 else output._replace(logits=-output.logits)

    def train(self, mode=True):
        super().train(mode)
        if self.way == "stays_in_training_mode":
            self.norm.train()
        return self

    def stays_in_training_mode(self, batch, output):
        return output


@dataclass(frozen=True)
class Delivers(toys.Plain):
    """Trains the plain classifier and delivers it inside a `Network`."""

    way: str = ""

    @property
    def reads(self):
        return ("near", "far")

    def build(self, bench):
        return pm.Nets(student=bench.classifier("near"), other=nn.Module())

    def deliver(self, nets):
        return Network(nets.student, self.way)


def sealed(lab, stage, *inputs):
    lab.train(stage)
    return seal(stage, lab.context, lab.store, inputs or ("near",))


def test_the_program_computes_what_the_network_computes_on_raw_inputs(lab):
    stage = Delivers()
    path = sealed(lab, stage)
    assert path == lab.store.program(lab.context.key(stage), ("near",))
    check_archive(path)
    x = torch.from_numpy(np.array(lab.prepared.column("test", "near").read(range(30)), np.float32))
    logits, pooled = torch.export.load(path).module()(x)
    stats = channel_stats_of(lab.store.stage(lab.context.key(stage)))["near"]
    batch = {"near": (x - torch.from_numpy(stats.mean)) / torch.from_numpy(stats.std)}
    expected = delivered(stage, lab.context, lab.store)(batch)
    torch.testing.assert_close(logits, expected.logits)
    torch.testing.assert_close(pooled, expected.pooled)
    assert (logits.shape, pooled.shape) == ((30, 3), (30, 8))


@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_program_takes_any_number_of_samples(lab, count):
    logits, pooled = torch.export.load(sealed(lab, Delivers())).module()(torch.zeros(count, 6))
    assert (logits.shape, pooled.shape) == ((count, 3), (count, 8))
    assert torch.equal(logits, logits[:1].expand(count, 3))


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("reads_labels", "reads labels, sample index or progress"),
        ("reads_index", "reads labels, sample index or progress"),
        ("reads_progress", "reads labels, sample index or progress"),
        ("reads_privilege", "far"),
        ("draws", "random"),
        ("keeps_data", "captured tensor"),
        ("compares_samples", "samples beside it"),
        ("normalizes_over_the_batch", "samples beside it|every batch size"),
        ("counts_calls", "evaluation chang"),
        ("overflows", "not finite"),
        ("returns_logits", r"returns \w*Tensor; the evaluator needs pm.Output"),
        ("branches_on_values", "every batch size"),
        ("stays_in_training_mode", "training mode"),
    ],
)
def test_a_network_that_is_no_function_of_its_inputs_is_refused(lab, way, words):
    stage = Delivers(way=way)
    with pytest.raises(SealError, match=words) as caught:
        sealed(lab, stage)
    assert "Delivers" in caught.value.message
    assert not lab.store.program(lab.context.key(stage), ("near",)).exists()


def test_an_input_that_the_stage_does_not_read_is_refused(lab):
    with pytest.raises(SealError, match="tested on far, which it does not read"):
        sealed(lab, toys.Plain(), "near", "far")


def test_a_network_may_leave_an_input_unused(lab):
    stage = toys.Imitator(toys.Plain("far"))
    path = sealed(lab, stage, "near", "far")
    a, b = torch.zeros(2, 6), torch.ones(2, 5)
    program = torch.export.load(path).module()
    assert torch.equal(program(a, b)[0], program(a, 2 * b)[0])
