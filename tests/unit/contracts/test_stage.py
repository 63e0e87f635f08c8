"""Stages as values: parents, order, errors where a member is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

import pmbench as pm
from pmbench.errors import ContractError


@dataclass(frozen=True)
class Node(pm.Stage):
    name: str
    before: tuple[pm.Stage, ...] = ()
    other: object = None

    @property
    def reads(self):
        return ("rgb",)


A, B = Node("a"), Node("b")
C = Node("c", (A, B))
D = Node("d", (C, A), B)


def test_parents_are_the_stages_among_the_fields():
    assert D.parents == (C, A, B)
    assert Node("x", other=((A,), ("text", (B,)))).parents == (A, B)
    assert A.parents == ()


def test_walk_gives_parents_first_and_equal_stages_once():
    assert list(D.walk()) == [A, B, C, D]
    assert list(Node("e", (replace(D), Node("a"))).walk()) == [A, B, C, D, Node("e", (D, A))]
    for stage in D.walk():
        order = list(D.walk())
        assert all(order.index(parent) < order.index(stage) for parent in stage.parents)


def test_a_replica_is_another_stage():
    assert replace(A, replica=1) != A
    assert list(Node("x", (A, replace(A, replica=1))).walk())[:2] == [A, replace(A, replica=1)]


def test_shared_parents_are_walked_once():
    stage: pm.Stage = A
    for depth in range(18):
        stage = Node(str(depth), (stage, stage))
    assert len(list(stage.walk())) == 19


def test_fields_that_cannot_be_hashed():
    with pytest.raises(ContractError, match="Node has a field that cannot be hashed"):
        list(Node("x", other=[1]).walk())
    with pytest.raises(ContractError, match=r"frozen=True|cannot be hashed"):
        list(Node("y", (Node("x", other={}),)).walk())


def test_missing_members_are_named():
    @dataclass(frozen=True)
    class Bare(pm.Stage):
        pass

    for act, words in (
        (lambda s: s.reads, "does not declare the modalities"),
        (lambda s: s.build(None), "builds no networks"),
        (lambda s: s.losses(None, None), "has neither losses nor update"),
    ):
        with pytest.raises(NotImplementedError, match=f"Bare {words}"):
            act(Bare())


def test_defaults():
    nets = pm.Nets(student=torch.nn.Linear(2, 2))
    assert A.deliver(nets) is nets.student
    assert A.groups(nets)["main"].modules == (nets,)
    assert A.recipe(pm.Recipe()) == pm.Recipe()
    assert (A.handles, A.trains) == (frozenset(), True)


def test_departures_of_a_recipe():
    standard = pm.Recipe()
    assert standard.departures(standard) == {}
    changed = standard.but(lr=0.1, milestones=(0.5,))
    assert changed.departures(standard) == {"lr": (standard.lr, 0.1), "milestones": ((), (0.5,))}
    assert standard.departures(changed) == {"lr": (0.1, standard.lr), "milestones": ((0.5,), ())}
    with pytest.raises(TypeError):
        standard.but(learning_rate=1)


def test_nets_hold_modules_and_are_not_called():
    with pytest.raises(ContractError, match=r"Nets\(student=...\) is a str"):
        pm.Nets(student="net")
    with pytest.raises(ContractError, match="container"):
        pm.Nets()({})


def test_frozen_stays_frozen():
    inner = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    nets = pm.Nets(teacher=pm.Frozen(inner))
    nets.train()
    before = {n: t.clone() for n, t in inner.state_dict().items()}
    x = torch.randn(5, 3, requires_grad=True)
    first, second = nets.teacher(x), nets.teacher(x)
    assert torch.equal(first, second)
    first.sum().backward()
    assert x.grad is not None
    assert not any(p.requires_grad for p in nets.parameters())
    assert all(torch.equal(t, before[n]) for n, t in inner.state_dict().items())
    with pytest.raises(AttributeError):
        _ = nets.teacher.nothing
