"""The evaluator on real programs and prepared data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import videos
from safetensors.torch import save_file
from torch import nn

import pmbench as pm
from pmbench.contracts.samples import CropParams
from pmbench.data.prepare import find_or_prepare, prepare
from pmbench.errors import DataError, PluginError, SealError
from pmbench.evaluation.evaluator import PRELOAD, EvaluationRequest, Evaluator
from pmbench.evaluation.inference import Part, Runner
from pmbench.evaluation.scoring import read_predictions
from pmbench.files import file_digest
from pmbench.isolation.forkserver import Forkserver
from pmbench.run.worker import Resources, Seal, Train, context_of, perform, registry
from pmbench.store.documents import write_stages
from pmbench.store.keys import CellSpec
from pmbench.store.store import Store

RECIPE = pm.Recipe(lr=1e-3, epochs=1, batch_size=40, select="last", schedule="constant")
BACKBONES = (("privileged_view", "mlp-16"), ("target_view", "mlp-16"))
SPEC = CellSpec("planted", "shared-10", BACKBONES, RECIPE, 0)
TEST, TRAIN = "shared-10-test", "shared-10-train"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Prepared data, and the sealed program of a stream on the target view."""
    root = tmp_path_factory.mktemp("planted")
    prepared = find_or_prepare(registry().dataset("planted"), root / "data")
    resources, stage, inputs = (
        Resources(root / "store", root / "data"),
        pm.Stream("target_view"),
        ("target_view",),
    )
    key, walk = context_of(SPEC, resources.data).key(stage), tuple(write_stages(stage, SPEC.recipe))
    perform(Train(key, walk, SPEC), resources)
    perform(Seal(key, walk, SPEC, inputs), resources)
    return prepared, Store(resources.store).program(key, inputs)


@pytest.fixture(scope="module")
def evaluator():
    """One evaluator for all tests: its server starts once."""
    server = Forkserver(PRELOAD, {"OMP_NUM_THREADS": "1"})
    yield Evaluator(server)
    server.close()


@pytest.fixture
def request_for(planted, tmp_path):
    """An EvaluationRequest for the program of `planted`; keyword arguments are other fields."""
    prepared, program = planted

    def make(**fields):
        common = {
            "program": program,
            "sha256": file_digest(program),
            "prepared": prepared,
            "protocol": prepared.dataset.protocol("shared-10"),
            "inputs": ("target_view",),
            "out": tmp_path / "predictions.parquet",
        }
        return EvaluationRequest(**{**common, **fields})

    return make


def outputs_of(program, prepared, part):
    x = torch.from_numpy(np.array(prepared.column(part, "target_view").array, np.float32))
    with torch.no_grad():
        return torch.export.load(program).module()(x)


def test_predictions_are_the_outputs_of_the_program_in_the_order_of_ids(planted, request_for, evaluator):
    prepared, program = planted
    request = request_for()
    answer = evaluator(request)
    ids, _ = prepared.index(TEST)
    columns = read_predictions(request.out, ids)
    assert set(columns) == {"logits"}
    np.testing.assert_allclose(columns["logits"], outputs_of(program, prepared, TEST)[0], atol=1e-5)
    assert answer["predictions"] == file_digest(request.out)
    assert answer["program"] == file_digest(program)
    module = torch.export.load(program).module()
    assert answer["parameters"] == sum(p.numel() for p in module.parameters())
    assert answer["buffers"] == sum(b.numel() for b in module.buffers())
    assert answer["macs"] == sum(p.numel() for p in module.parameters() if p.dim() == 2)
    assert 0 < answer["latency_ms"] < 1000
    assert evaluator(request)["predictions"] == answer["predictions"], "the same bits again"


def test_features_and_gallery_are_written_on_request(planted, request_for, evaluator):
    prepared, program = planted
    request = request_for(features=True, gallery=TRAIN)
    evaluator(request)
    pooled = outputs_of(program, prepared, TEST)[1]
    columns = read_predictions(request.out, prepared.index(TEST)[0])
    np.testing.assert_allclose(columns["features"], pooled, atol=1e-5)
    gallery = request.out.with_name("predictions.gallery.parquet")
    columns = read_predictions(gallery, prepared.index(TRAIN)[0])
    np.testing.assert_allclose(columns["features"], outputs_of(program, prepared, TRAIN)[1], atol=1e-5)
    assert pq.read_schema(gallery).names == ["id", "logits", "features"]


def test_weights_of_epochs_are_run_in_place_of_the_programs(planted, request_for, evaluator, tmp_path):
    prepared, program = planted
    module = torch.export.load(program).module()
    names = [n.removeprefix("network.") for n in module.state_dict() if n.startswith("network.")]
    file = tmp_path / "epochs.safetensors"
    first = {n: module.state_dict()[f"network.{n}"] for n in names}
    save_file({f"{e}/{n}": first[n] * e for e in (2, 1) for n in names}, file)
    request = request_for(epochs=file, features=True, gallery=TRAIN)
    answer = evaluator(request)
    assert answer["epochs"] == 2
    ids, _ = prepared.index(TEST)
    own, same, other = (read_predictions(p, ids) for p in (request.out, *map(request.epoch_out, (1, 2))))
    assert all(np.array_equal(own[name], same[name]) for name in ("logits", "features"))
    x = torch.from_numpy(np.array(prepared.column(TEST, "target_view").array, np.float32))
    module.load_state_dict({f"network.{n}": t * 2 for n, t in first.items()}, strict=False)
    with torch.no_grad():
        np.testing.assert_allclose(other["logits"], module(x)[0], rtol=1e-4, atol=1e-4)
    assert request.outputs(request.epoch_out(2))[TRAIN].exists()


def test_epochs_that_lack_a_weight_are_refused(planted, request_for, evaluator, tmp_path):
    file = tmp_path / "epochs.safetensors"
    save_file({"1/head.weight": torch.zeros(1)}, file)
    with pytest.raises(PluginError, match="lacks 'network"):
        evaluator(request_for(epochs=file))


def test_a_missing_program_is_reported_and_the_next_request_runs(request_for, evaluator):
    with pytest.raises(PluginError, match=r"evaluation failed: .*missing\.pt2"):
        evaluator(request_for(program=Path("missing.pt2")))
    assert evaluator(request_for())["parameters"]


def test_a_program_that_has_changed_by_one_bit_is_refused(planted, request_for, evaluator, tmp_path):
    _, program = planted
    content = bytearray(program.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / "changed.pt2"
    changed.write_bytes(content)
    with pytest.raises(PluginError, match="has changed since it was sealed"):
        evaluator(request_for(program=changed))


@pytest.mark.slow
def test_the_request_after_the_death_of_the_server_starts_a_new_one(request_for, evaluator):
    evaluator(request_for())
    server = evaluator.server._server
    server.kill()
    server.wait()
    assert evaluator(request_for())["parameters"]


class Neighbours(nn.Module):
    """Logits that depend on the sample before, in batches of more than 11."""

    def forward(self, x):
        pooled = x.flatten(1)[:, :4]
        return (pooled + 0.1 * pooled.roll(1, 0) if len(x) > 11 else pooled), pooled


def test_a_program_that_looks_at_its_neighbours_is_refused(planted):
    prepared, _ = planted
    part = Part(TEST, {"target_view": prepared.column(TEST, "target_view")})
    with pytest.raises(SealError, match=r"change by .* with the samples beside it"):
        Runner(Neighbours(), [0.5]).run(part)


def test_logits_are_as_many_as_classes(planted, request_for, evaluator):
    prepared, _ = planted
    one_class = type("OneClass", (type(prepared.dataset),), {"classes": ("a",)})()
    with pytest.raises(SealError, match="gives 2 logits for 1 classes"):
        evaluator(request_for(prepared=dataclasses.replace(prepared, dataset=one_class)))


class ClipNetwork(nn.Module):
    """Logits that differ strongly between clips; the mean colour as pooled features."""

    def forward(self, x):
        pooled = x.mean((2, 3, 4))
        return torch.stack([pooled[:, 2], 128 - pooled[:, 2]], 1), pooled


@pytest.fixture
def clips(source, tmp_path):
    return prepare(videos.Videos(), source, tmp_path / "data", codec="raw")


def outputs(prepared, rows, protocol="one", part="a"):
    protocol = prepared.dataset.protocol(protocol)
    samples = Part(part, {"rgb": prepared.column(part, "rgb", protocol)})
    found = list(Runner(ClipNetwork(), protocol.sampling.moments()).outputs(samples, np.array(rows), 256))
    return tuple(np.concatenate([batch[i] for batch in found]) for i in (0, 1))


def test_probabilities_of_clips_are_averaged_not_logits(clips):
    logits, features = outputs(clips, [2, 0])
    column = clips.column("a", "rgb", videos.Videos().protocol("one"))
    for place, row in enumerate((2, 0)):
        each = [torch.from_numpy(np.array(column.read(row, CropParams(t)), np.float32)) for t in (0.25, 0.75)]
        z, pooled = ClipNetwork()(torch.stack(each))
        assert not torch.equal(z[0], z[1])
        probabilities = z.double().softmax(1).mean(0)
        np.testing.assert_allclose(torch.tensor(logits[place]).double().softmax(0), probabilities, rtol=1e-4)
        np.testing.assert_allclose(features[place], pooled.mean(0), rtol=1e-6)


def test_a_certain_class_leaves_the_others_in_order(clips, monkeypatch):
    """Probabilities below the smallest float still order the classes."""
    monkeypatch.setattr(
        ClipNetwork, "forward", lambda self, x: (x.new_tensor([[500.0, 0.0, 100.0]]).expand(len(x), 3),) * 2
    )
    logits, _ = outputs(clips, [0, 1])
    np.testing.assert_allclose(logits, [[0.0, -500.0, -400.0]] * 2, atol=1e-4)


def test_a_test_sample_without_the_modality_is_an_error(clips):
    columns = {"sound": clips.column("c", "sound")}
    with pytest.raises(DataError, match="1 test sample lacks 'sound' in 'c'"):
        assert Part("c", columns).rows is None
    assert len(Part("c", columns, gallery=True).rows) == clips.count("c") - 1
