"""Every check fails for a method that breaks what it checks, and exceptions are strict."""

import random
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import pmbench as pm
from pmbench.contracts.modality import KINDS
from pmbench.testing.backbone_checks import (
    check_libraries_are_declared,
    check_pooled_is_the_mean_of_the_last_map,
    check_tail_takes_joined_maps,
    specimens,
)
from pmbench.testing.collect import method_suite
from pmbench.testing.outcome import Check, Failed, Skipped, Suite

LEFT = []


@dataclass(frozen=True)
class Student(pm.Stage):
    """A student that reads both modalities and learns from a frozen teacher."""

    target: str
    teacher: pm.Stage

    @property
    def reads(self):
        return (self.target, *self.teacher.reads)

    def build(self, bench):
        return pm.Nets(student=bench.classifier(self.target), teacher=bench.frozen(self.teacher))

    def losses(self, nets, batch):
        student, teacher = nets.student(batch).logits, nets.teacher(batch).logits
        return {
            "ce": pm.cross_entropy(student, batch.labels),
            "soft": pm.kl_divergence(teacher, student, 4.0),
        }


@dataclass(frozen=True)
class Infinite(Student):
    def losses(self, nets, batch):
        return {"ce": nets.student(batch).logits.sum() / 0}


@dataclass(frozen=True)
class Vector(Student):
    def losses(self, nets, batch):
        return {"ce": nets.student(batch).logits.sum(1)}


@dataclass(frozen=True)
class DeadLayer(Student):
    def build(self, bench):
        nets = super().build(bench)
        nets.add_module("dead", nn.Linear(2, 2))
        return nets


@dataclass(frozen=True)
class Thawed(Student):
    def losses(self, nets, batch):
        with torch.no_grad():
            nets.teacher.network.head.bias.add_(0.1)
        return super().losses(nets, batch)


@dataclass(frozen=True)
class GlobalChance(Student):
    def losses(self, nets, batch):
        terms = super().losses(nets, batch)
        return {**terms, "soft": terms["soft"] * random.random()}


class Remembering(nn.Module):
    """Scales its logits by a number that no buffer holds."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.scale = inner, 1.0

    def forward(self, batch):
        if self.training:
            self.scale += 1.0
        output = self.inner(batch)
        return output._replace(logits=output.logits * self.scale)


@dataclass(frozen=True)
class Forgetful(Student):
    def build(self, bench):
        return pm.Nets(student=Remembering(bench.classifier(self.target)), teacher=bench.frozen(self.teacher))


@dataclass(frozen=True)
class Ignorant(Student):
    def losses(self, nets, batch):
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class Wrong(Student):
    """Learns the next class in place of the right one."""

    def losses(self, nets, batch):
        logits = nets.student(batch).logits
        return {"ce": pm.cross_entropy(logits, (batch.labels + 1) % logits.shape[1])}


class Centred(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, batch):
        output = self.inner(batch)
        return output._replace(logits=output.logits - output.logits.mean(0))


@dataclass(frozen=True)
class BatchCentred(Student):
    def build(self, bench):
        return pm.Nets(student=Centred(bench.classifier(self.target)), teacher=bench.frozen(self.teacher))


def made(stage, *, paper="none", exceptions=None):
    def plan(setting):
        """A method of this test"""
        return stage(setting.only_target(), pm.Stream(setting.only_privileged()))

    return pm.method("of_this_test", paper=paper, exceptions=exceptions)(plan)


def failing(suite, case="vector"):
    checks = [c for c in suite.checks if c.case in (case, "")]
    return {c.rule: suite.result(c).reason for c in checks if suite.result(c).outcome == "failed"}


def quick(suite, *properties):
    """The results of some checks on vectors, by name."""
    return {
        c.rule: suite.result(c) for c in suite.checks if c.rule in properties and c.case in ("vector", "")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "check"),
    [
        (Infinite, "terms_are_finite_scalars"),
        (Infinite, "trains_on_what_it_reads"),
        (Vector, "terms_are_finite_scalars"),
        (Vector, "trains_on_what_it_reads"),
        (DeadLayer, "every_parameter_learns"),
        (Thawed, "frozen_stays_frozen"),
        (GlobalChance, "same_seed_same_weights"),
        (Forgetful, "stored_equals_fresh"),
        (Ignorant, "privilege_reaches_the_student"),
        (Wrong, "overfits_eight_samples"),
        (BatchCentred, "it_seals"),
        (BatchCentred, "rows_are_independent"),
    ],
)
def test_a_check_fails_for_what_it_is_there_for(stage, check):
    result = quick(method_suite(made(stage)), check)[check]
    assert result.outcome == "failed", result


def test_a_sound_method_fails_nothing():
    assert failing(method_suite(made(Student))) == {}


def test_a_paper_must_be_cited():
    assert (
        quick(method_suite(made(Student, paper=" ")), "paper_is_cited")["paper_is_cited"].outcome == "failed"
    )


def test_a_plan_must_be_pure(tmp_path):
    def writes(setting):
        """Writes"""
        (tmp_path / "note").write_text("x")
        return pm.Stream(*setting.target)

    def varies(setting):
        """Varies"""
        LEFT.append(1)
        return pm.Stream(*setting.target, replica=len(LEFT))

    for plan, word in ((writes, "opened"), (varies, "two plans differ")):
        suite = method_suite(pm.method("impure", paper="none")(plan))
        assert word in quick(suite, "plan_is_pure")["plan_is_pure"].reason


def test_a_known_exception_is_allowed_and_says_why():
    suite = method_suite(made(DeadLayer, exceptions={"every_parameter_learns": "the layer is for later"}))
    found = quick(suite, "every_parameter_learns", "exceptions_are_needed")
    assert found["every_parameter_learns"].outcome == "allowed"
    assert "the layer is for later" in found["every_parameter_learns"].reason
    assert found["exceptions_are_needed"].outcome == "passed"


def _raises(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    ("exceptions", "word"),
    [
        ({"holds": "not yet"}, "remove the exception"),
        ({"other": "?"}, "names no check"),
        ({"fails": " "}, "no reason"),
    ],
)
def test_exceptions_are_strict(exceptions, word):
    checks = [Check("holds", lambda: None), Check("fails", _raises(Failed("so it is")))]
    suite = Suite("method", "any", checks, exceptions)
    assert word in next(r.reason for r in suite.results() if r.check == "exceptions_are_needed")


def test_a_suite_that_skips_everything_fails():
    suite = Suite("method", "any", [Check("a", _raises(Skipped("no"))), Check("b", _raises(Skipped("no")))])
    assert [r.outcome for r in suite.results()] == ["skipped", "skipped", "failed"]


def test_a_backbone_of_a_library_that_it_does_not_declare_is_caught():
    """`__module__` of the class names numpy; the check uses the package that defines it."""
    foreign = type("Foreign", (nn.Linear,), {"__module__": "numpy.networks"})

    def build(modality, size):
        return pm.Encoder(foreign(modality.channels, 4), [nn.Tanh()], nn.Identity(), (), 4)

    made = pm.Backbone("net", frozenset({"vector"}), frozenset({"pooled"}), "", 0, build)
    with pytest.raises(Failed, match=r"numpy\.Foreign, .* declare libraries=\('numpy',\)"):
        check_libraries_are_declared(next(specimens(made, KINDS.values()))[1])
    declared = replace(made, libraries=("numpy",))
    check_libraries_are_declared(next(specimens(declared, KINDS.values()))[1])


def test_a_tail_of_other_blocks_than_the_encoders_is_caught():
    """It gives what it declares, but its second layer is wider than the encoder's."""

    def encoder(channels, inside):
        second = nn.Sequential(nn.Conv1d(4, inside, 1), nn.Conv1d(inside, 4, 1))
        maps = [pm.MapInfo(4, (1,))] * 2
        return pm.Encoder(nn.Conv1d(channels, 4, 1), [nn.Conv1d(4, 4, 1), second], LastMoment(), maps, 4)

    def of(inside):
        def tail(kind, size, start, channels):
            return pm.tail_of(encoder(3, inside), start, channels)

        kinds, provides = frozenset({"sequence"}), frozenset({"pooled", "maps"})
        made = pm.Backbone("net", kinds, provides, "", 0, lambda m, size: encoder(m.channels, 5), tail)
        return next(specimens(made, KINDS.values()))[1]

    check_tail_takes_joined_maps(of(5))
    with pytest.raises(Failed, match=r"not made of the encoder's blocks: .* blocks\.0\.0\.bias"):
        check_tail_takes_joined_maps(of(6))


def test_pooled_features_that_are_no_mean_are_caught():
    def specimen(provides, channels=4):
        def build(modality, size):
            block = nn.Conv1d(modality.channels, channels, 1)
            pool = LastMoment() if channels == 4 else nn.Sequential(LastMoment(), nn.Linear(channels, 4))
            return pm.Encoder(nn.Identity(), [block], pool, [pm.MapInfo(channels, (1,))], 4)

        made = pm.Backbone("net", frozenset({"sequence"}), frozenset(provides), "", 0, build)
        return next(specimens(made, KINDS.values()))[1]

    with pytest.raises(Failed, match="the pooled features differ from it by up to"):
        check_pooled_is_the_mean_of_the_last_map(specimen({"pooled", "maps", "mean"}))
    with pytest.raises(Failed, match="other channels than pooled features"):
        check_pooled_is_the_mean_of_the_last_map(specimen({"pooled", "maps", "mean"}, channels=6))
    with pytest.raises(Skipped):
        check_pooled_is_the_mean_of_the_last_map(specimen({"pooled", "maps"}))


class LastMoment(nn.Module):
    def forward(self, x):
        return x[..., -1]
