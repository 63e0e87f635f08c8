"""The hallucination network: what it copies from the privileged one, and its architecture."""

import torch
from pmbench_hallucination.hallucination import copy_agreeing_layers, hallucination_network
from torch import nn

import pmbench as pm
from pmbench.testing import lab


def test_a_layer_is_copied_whole_or_not_at_all():
    a, b = (nn.Sequential(nn.Linear(n, 4), nn.ReLU(), nn.Linear(4, 2)) for n in (3, 5))
    bias = b[0].bias.detach().clone()
    assert copy_agreeing_layers(a, b) == ("0",)
    assert torch.equal(a[2].weight, b[2].weight)
    assert torch.equal(b[0].bias, bias)
    a[2].weight.data.zero_()
    assert b[2].weight.abs().sum() > 0


def test_buffers_go_with_their_layer_and_other_names_stay():
    a, b = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3)), nn.Sequential(nn.BatchNorm1d(3))
    a[0].running_mean.fill_(7.0)
    assert copy_agreeing_layers(a, b) == ()
    assert b[0].running_mean.tolist() == [7.0] * 3
    assert copy_agreeing_layers(b, a) == ("1",)


def test_a_hallucination_network_starts_from_what_it_imitates():
    setting = lab.setting(("acc",), ("gyro",))
    bench = lab.LabBench(setting)
    f_p = bench.trainable(pm.Stream("gyro"))
    h = hallucination_network(bench, "acc", f_p)
    own = lab.LabBench(setting).classifier("gyro", fed="acc").state_dict()
    first = "encoder.blocks.0.0.weight"
    mine, theirs = h.state_dict(), f_p.state_dict()
    assert h.fed == "acc"
    assert torch.equal(mine[first], own[first])
    assert all(torch.equal(mine[n], theirs[n]) for n in mine if n != first)
    assert len(bench.notes) == 1
    assert "encoder.blocks.0.0," in bench.notes[0]
    assert hallucination_network(
        lab.LabBench(setting), "acc", bench.trainable(pm.Stream("gyro", 6))
    ).bottleneck


def test_where_the_backbone_does_not_fit_only_the_head_is_copied():
    setting = lab.setting(("spectrum",), ("acc",), backbones={"acc": "cnn1d-16"})
    bench = lab.LabBench(setting)
    f_p = bench.trainable(pm.Stream("acc"))
    h = hallucination_network(bench, "spectrum", f_p)
    assert torch.equal(h.head.weight, f_p.head.weight)
    assert h.bottleneck is not None
    plain = lab.LabBench(setting).classifier("spectrum").encoder.state_dict()
    assert all(torch.equal(t, plain[n]) for n, t in h.encoder.state_dict().items())
    assert bench.notes == ["h has the target's architecture"]
    same = lab.setting(("spectrum",), ("acc",))  # 32 pooled features each
    assert (
        hallucination_network(lab.LabBench(same), "spectrum", lab.LabBench(same).classifier("acc")).bottleneck
        is None
    )


def test_it_is_reshaped_before_weights_are_copied():
    bench = lab.LabBench(lab.setting(("acc",), ("mag",)))
    f_p = bench.trainable(pm.Stream("mag"))

    def deeper(network):
        network.encoder.blocks[0] = nn.Sequential(network.encoder.blocks[0], nn.Identity())

    h = hallucination_network(bench, "acc", f_p, deeper)
    assert "encoder.blocks.0.0.0" in bench.notes[0]
    assert torch.equal(h.encoder.blocks[1][0].weight, f_p.encoder.blocks[1][0].weight)
