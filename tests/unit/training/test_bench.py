"""The bench: initial weights, fusion, frozen and trainable parents, checks of backbones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import engine_lab as toys
import pytest
import torch
from torch import nn

import pmbench as pm
from pmbench.errors import ContractError
from pmbench.training.bench import EngineBench, check_backbone, checked_build, delivered

READS = ("near", "far", "wave", "echo", "slow")


def bench(lab, stage=None):
    return EngineBench(stage or toys.Everything(READS), lab.context, 10, lab.store)


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_init_of_a_role_depends_only_on_seed_and_replica(lab):
    first = weights(bench(lab).classifier("near"))
    for other in (bench(lab, toys.Plain("near", dropout=0.3)), bench(lab, toys.Imitator(toys.Plain("far")))):
        other.head(3)
        torch.rand(5)
        assert toys.same(weights(other.classifier("near")), first)
    assert toys.same(weights(bench(lab.but(recipe=lab.recipe.but(lr=1.0))).classifier("near")), first)
    assert not toys.same(weights(bench(lab, toys.Plain("near", replica=1)).classifier("near")), first)
    assert not toys.same(weights(bench(lab.but(seed=1)).classifier("near")), first)
    one = bench(lab)
    assert toys.same(weights(one.classifier("near")), first)
    assert not toys.same(weights(one.classifier("near")), first)  # a second one is another
    assert not toys.same(weights(one.encoder("wave")), weights(one.encoder("wave")))


def test_init_of_an_encoder_does_not_depend_on_bottleneck_and_head(lab):
    """The role of an encoder is its modality and input; head and bottleneck are seeded apart."""
    plain = bench(lab).classifier("wave")
    narrow, alone = bench(lab).classifier("wave", bottleneck=5), bench(lab).encoder("wave")
    assert toys.same(weights(narrow.encoder), weights(plain.encoder))
    assert toys.same(weights(alone), weights(plain.encoder))
    one = bench(lab)
    assert one.features("wave") == plain.encoder.features
    assert toys.same(weights(one.encoder("wave")), weights(alone))  # `features` does not use the rng
    assert not toys.same(weights(one.classifier("wave").encoder), weights(alone))  # a second one is another
    assert toys.same(weights(bench(lab).classifier("wave").head), weights(plain.head))


def test_fits_and_notes(lab):
    one = bench(lab)
    assert one.fits("wave", "echo")
    assert not one.fits("wave", "near")
    with pytest.raises(ContractError, match="'hidden'"):
        one.fits("wave", "hidden")
    one.note("a")
    one.note("b")
    one.note("a")
    assert one.notes == ["a", "b"]


def test_init_of_a_plugins_own_layers_is_seeded(lab):
    @dataclass(frozen=True)
    class Own(toys.Plain):
        def build(self, bench):
            return pm.Nets(student=bench.classifier("near"), own=nn.Linear(3, 3))

    torch.manual_seed(1)
    first = weights(checked_build(Own(), bench(lab, Own())))
    torch.manual_seed(2)
    assert toys.same(weights(checked_build(Own(), bench(lab, Own()))), first)


def test_classifier_fed_another_modality(lab):
    network = bench(lab).classifier("wave", fed="echo", bottleneck=5)
    output = network({"echo": torch.zeros(2, 3, 16)})
    assert output.logits.shape == (2, 3)
    assert output.pooled.shape == (2, 5)
    with pytest.raises(ContractError, match=r"'cnn1d-8' takes sequence, but 'near' is a vector"):
        bench(lab).encoder("wave", fed="near")


def test_fusion_joins_maps_if_backbones_and_grids_agree(lab):
    one = bench(lab)
    joined = one.fusion("wave", "echo")
    start = weights(joined)
    assert joined.tail is not None
    assert [len(trunk.blocks) for trunk in joined.trunks.values()] == [1, 1]
    batch = {
        "wave": torch.randn(2, 2, 16),
        "echo": torch.randn(2, 3, 16),
        "near": torch.randn(2, 6),
        "slow": torch.randn(2, 3, 8),
        "far": torch.randn(2, 5),
    }
    assert [m.shape[1:] for m in joined(batch).maps] == [(16, 4), (32, 2)]
    for names in (("wave", "slow"), ("wave", "near"), ("near", "far")):
        pooled = one.fusion(*names)
        assert pooled.tail is None
        assert pooled(batch).logits.shape == (2, 3)
        assert pooled(batch).maps == ()
    other = bench(lab.but(backbones={"echo": toys.backbone("cnn1d-16")}))
    assert other.fusion("wave", "echo").tail is None
    assert toys.same(weights(bench(lab).fusion("wave", "echo")), start)


def test_frozen_and_trainable(lab):
    parent = toys.Plain("wave")
    stored = lab.train(parent)
    one = bench(lab, toys.Imitator(parent))
    frozen, copy = one.frozen(parent), one.trainable(parent)
    assert toys.same(weights(frozen.network), stored)
    assert toys.same(weights(copy), stored)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(p.requires_grad for p in copy.parameters())
    assert copy.training
    frozen.train()
    x = {"wave": torch.randn(4, 2, 16, requires_grad=True)}
    frozen(x).logits.sum().backward()
    assert x["wave"].grad.abs().sum() > 0  # gradients pass through
    assert toys.same(weights(frozen.network), stored)
    assert not any(m.training for m in frozen.modules())
    with torch.no_grad():
        next(copy.parameters()).add_(1)
    assert toys.same(weights(one.frozen(parent).network), stored)
    assert frozen.head is frozen.network.head


@dataclass(frozen=True)
class Wider(toys.Plain):
    other: str = "cnn1d-16"

    @property
    def backbones(self):
        return (self.other,)

    def build(self, bench):
        return pm.Nets(student=bench.classifier(self.modality, backbone=self.other))


def test_another_backbone_has_a_role_and_a_part_of_the_key_of_its_own(lab):
    own, other = bench(lab, Wider("wave")), Wider("wave")
    network = own.classifier("wave", backbone="cnn1d-16")
    assert network.encoder.features == 2 * own.features("wave")
    assert toys.same(weights(own.classifier("wave")), weights(bench(lab).classifier("wave")))
    assert lab.context.inputs_of(other)["others"].keys() == {"cnn1d-16"}
    assert "others" not in lab.context.inputs_of(toys.Plain("wave"))
    with pytest.raises(ContractError, match=r"'cnn1d-32', which it does not declare; .* \(cnn1d-16\)"):
        own.classifier("wave", backbone="cnn1d-32")


def test_a_network_of_another_backbone_is_trained_and_read_back(lab):
    stored = lab.train(Wider("wave"))
    assert toys.same(weights(delivered(Wider("wave"), lab.context, lab.store)), stored)


def test_channel_stats(lab):
    """Those of the training samples where the stage is trained, 0 and 1 where a network is built again."""

    @dataclass(frozen=True)
    class Zeroed(toys.Plain):
        def build(self, bench):
            mean, std = bench.channel_stats(self.modality)
            nets = super().build(bench)
            nets.student.register_buffer("zero", -mean / std)
            return nets

    training = lab.training(Zeroed("wave"))
    stats = lab.view.channel_stats("wave")
    assert training.nets.student.zero.tolist() == pytest.approx((-stats.mean / stats.std).tolist())
    assert [t.tolist() for t in bench(lab).channel_stats("wave")] == [[0, 0], [1, 1]]
    with pytest.raises(ContractError, match="'hidden'"):
        bench(lab).channel_stats("hidden")


def test_a_stage_outside_the_fields_is_refused(lab):
    lab.train(toys.Plain("far"))
    with pytest.raises(ContractError, match="Imitator requests the network of Plain"):
        bench(lab, toys.Imitator(toys.Plain("wave"))).trainable(toys.Plain("far"))


def test_modality_is_known_if_a_parent_reads_it(lab):
    @dataclass(frozen=True)
    class Last(toys.Plain):
        inner: pm.Stage = dataclasses.field(default_factory=lambda: toys.Imitator(toys.Plain("far"), "wave"))

    one = bench(lab, Last())
    assert one.modality("far").shape == (5,)
    with pytest.raises(ContractError, match="'echo'"):
        one.modality("echo")
    with pytest.raises(ContractError, match="'far'"):
        one.encoder("far")


def test_delivered_refuses_weights_of_other_networks(lab):
    stage = toys.Plain()
    lab.train(stage)
    key = lab.context.key(stage)
    lab.store.put(key, {"other": torch.zeros(1)}, lab.store.stage(key), "")
    with pytest.raises(
        ContractError, match=r"Plain builds other networks .*'encoder\.blocks\.0\.bias'.*'other'"
    ):
        delivered(stage, lab.context, lab.store)


ONE_MAP = (pm.MapInfo(4, (1,)),)


class Misdeclared(pm.Encoder):
    def __init__(self, channels, *, maps=ONE_MAP, features=4):
        blocks = [nn.Conv1d(channels, 4, 3, padding=1)]
        super().__init__(
            nn.Identity(), blocks, nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()), maps, features
        )


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, None),
        ({"maps": (pm.MapInfo(5, (1,)),)}, ["map 0", "5 channels", "(4, 16)"]),
        ({"maps": (pm.MapInfo(4, (2,)),)}, ["map 0", "stride (2,)", "(4, 16)"]),
        ({"maps": (pm.MapInfo(4, (1, 1)),)}, ["[2] axes", "has 1"]),
        ({"maps": ()}, ["declares 0 maps"]),
        ({"maps": (pm.MapInfo(4, (1,)),) * 2}, ["declares 2 maps", "gives 1"]),
        ({"features": 7}, ["7 pooled", "(2, 4)"]),
        (None, ["Linear", "not an Encoder"]),
    ],
)
def test_backbones_with_wrong_declarations_are_refused(lab, declared, words):
    def build(modality, size):
        """A test"""
        return nn.Linear(1, 1) if declared is None else Misdeclared(modality.channels, **declared)

    (wrong,) = pm.backbone("wrong", kinds=("sequence",), provides=("pooled", "maps"), sizes={"0": 0})(build)
    modality = lab.dataset.modality("wave")
    if words is None:
        check_backbone(wrong, modality)
        return
    with pytest.raises(ContractError, match="wrong-0") as caught:
        check_backbone(wrong, modality)
    for word in words:
        assert word in caught.value.message
    with pytest.raises(ContractError, match="wrong-0"):
        bench(lab.but(backbones={"wave": wrong})).classifier("wave")


def test_check_backbone_does_not_use_the_global_rng(lab):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_backbone(dataclasses.replace(toys.backbone("cnn1d-8"), name="fresh"), lab.dataset.modality("wave"))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("protocol", ["validated", "few-4", "few-4+privileged-50"])
def test_labels_are_those_that_the_batches_have(lab, protocol):
    """A stage sees no more labels through the bench than the protocol gives."""
    training = lab.but(protocol=protocol).training(toys.Unlabelled())
    labels = training.bench.labels
    assert len(labels) == training.bench.num_train
    for batch in training.batches.epoch(0, 1):
        assert torch.equal(labels[batch.index], batch.labels)
    few = protocol.startswith("few-4")
    assert bool((labels < 0).any()) == few
    if few:
        assert labels[labels >= 0].bincount().max() <= 4
    assert bench(lab).labels.tolist() == [-1] * 10, "unknown where a finished stage is built again"
