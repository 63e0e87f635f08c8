"""The partially shared teacher: what it computes, what moves what, and who may have it."""

from __future__ import annotations

import pmbench_mmh
import pytest
import torch
from pmbench_mmh.partial import PartiallyShared

import pmbench as pm
from pmbench.testing import lab

METHODS = {m.name: m for m in pmbench_mmh.pmbench_methods()}
LABELS = (0, -1, 2, 1)


@pytest.fixture
def setting():
    return lab.setting(("acc",), ("gyro",), demands=("unlabelled",))


def built(reads):
    setting = lab.setting(reads[:1], reads[1:])
    stage = PartiallyShared(reads)
    return stage, stage.build(lab.LabBench(setting)).eval(), lab.batch(reads, LABELS)


@pytest.mark.parametrize("reads", [("acc", "gyro"), ("rgb", "depth", "ir")])
def test_a_forward_pass_step_by_step(reads):
    _, nets, batch = built(reads)
    net = nets.student
    own = {m: net.branches[m][0](net.stems[m](batch[m])) for m in reads}
    fused = sum(own.values())
    into = own
    for level in (1, 2):
        shared = net.shared[level - 1](fused)
        own = {m: net.branches[m][level](into[m]) for m in reads}
        fused = shared.clone()
        for x in own.values():
            fused = fused + x
        into = {m: own[m] + shared for m in reads}
        found = net(batch).maps[level - 1]
        torch.testing.assert_close(found, fused.reshape(found.shape))
    output, each = net.parts(batch)
    torch.testing.assert_close(output.pooled, fused.flatten(2).mean(2))
    torch.testing.assert_close(output.logits, net.head(output.pooled))
    for m in reads:
        torch.testing.assert_close(each[m], net.heads[m](own[m].flatten(2).mean(2)))
    assert len({id(head) for head in (net.head, *net.heads.values())}) == len(reads) + 1


def test_with_a_silent_shared_branch_the_maps_are_added():
    _, nets, batch = built(("rgb", "depth"))
    net = nets.student
    for block in net.shared:
        for module in block.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.zeros_(module.weight)
                torch.nn.init.zeros_(module.bias)
    alone = []
    for m in ("rgb", "depth"):
        x = net.stems[m](batch[m])
        for block in net.branches[m]:
            x = block(x)
        alone.append(x)
    torch.testing.assert_close(net(batch).maps[-1], alone[0] + alone[1])


def test_what_moves_what(setting):
    stage = PartiallyShared(("acc", "gyro"))
    reach = lab.gradient_reach(stage, lab.LabBench(setting), lab.batch(stage.reads, LABELS))
    assert set(reach) == {"ce", "ce_acc", "ce_gyro"}
    assert not any(part.startswith("student.heads") for part in reach["ce"].moves)
    assert {"student.heads.acc"} == {p for p in reach["ce_acc"].moves if "head" in p}
    branches = {p for p in reach["ce_acc"].moves if p.startswith("student.branches.gyro")}
    assert "student.branches.gyro.0" in branches, "the other branch, through the shared one"
    assert "student.branches.gyro.2" not in branches


@pytest.mark.parametrize("name", ["rad", "dad", "rad_dad", "rad_dad_joint"])
def test_methods_with_this_teacher(setting, name):
    last = METHODS[name].last_stage(setting, teacher="psmm")
    assert PartiallyShared(("acc", "gyro")) in list(last.walk())
    assert METHODS[name].teacher({"teacher": "psmm"}) == "own"
    for stage in last.walk():
        if stage.trains:
            bench = lab.LabBench(setting)
            terms = stage.losses(stage.build(bench).train(), lab.batch(stage.reads, LABELS))
            assert all(value.isfinite() for value in terms.values())
    with pytest.raises(pm.Unsupported, match="maps"):
        METHODS[name].last_stage(lab.setting(("summary",), ("profile",)), teacher="psmm")
