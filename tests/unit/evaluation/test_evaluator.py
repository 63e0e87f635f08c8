"""The evaluator on real programs and prepared data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import videos
from torch import nn

import pmbench as pm
from pmbench.contracts.samples import CropParams
from pmbench.data.prepare import find_or_prepare, prepare
from pmbench.errors import DataError, PluginError
from pmbench.evaluation.evaluator import EvaluationRequest, Evaluator, _outputs, evaluate
from pmbench.evaluation.scoring import read_predictions
from pmbench.files import file_digest
from pmbench.run.worker import Resources, Seal, Train, context_of, perform, registry
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
    key = context_of(SPEC, resources.data).key(stage)
    perform(Train(key, stage, SPEC), resources)
    perform(Seal(key, stage, SPEC, inputs), resources)
    return prepared, Store(resources.store).program(key, inputs)


@pytest.fixture
def request_for(planted, tmp_path):
    """An EvaluationRequest for the program of `planted`; keyword arguments are other fields."""
    prepared, program = planted

    def make(**fields):
        common = {
            "program": str(program),
            "distribution": "pmbench",
            "dataset": "planted",
            "protocol": "shared-10",
            "data": str(prepared.folder.parent),
            "part": TEST,
            "inputs": ("target_view",),
            "out": str(tmp_path / "predictions.parquet"),
        }
        return EvaluationRequest(**{**common, **fields})

    return make


def outputs_of(program, prepared, part):
    x = torch.from_numpy(np.array(prepared.column(part, "target_view").array, np.float32))
    with torch.no_grad():
        return torch.export.load(program).module()(x)


def test_predictions_are_the_outputs_of_the_program_in_the_order_of_ids(planted, request_for):
    prepared, program = planted
    request = request_for()
    answer = evaluate(request)
    ids, _ = prepared.index(TEST)
    columns = read_predictions(request.out, ids)
    assert set(columns) == {"logits"}
    np.testing.assert_allclose(columns["logits"], outputs_of(program, prepared, TEST)[0], atol=1e-5)
    assert answer["predictions"] == file_digest(Path(request.out))
    assert answer["program"] == file_digest(program)
    module = torch.export.load(program).module()
    assert answer["parameters"] == sum(p.numel() for p in module.parameters())
    assert answer["macs"] == sum(p.numel() for p in module.parameters() if p.dim() == 2)
    assert 0 < answer["latency_ms"] < 1000


def test_features_and_gallery_are_written_on_request(planted, request_for):
    prepared, program = planted
    request = request_for(features=True, gallery=TRAIN)
    evaluate(request)
    pooled = outputs_of(program, prepared, TEST)[1]
    columns = read_predictions(request.out, prepared.index(TEST)[0])
    np.testing.assert_allclose(columns["features"], pooled, atol=1e-5)
    gallery = request.out.replace(".parquet", ".gallery.parquet")
    columns = read_predictions(gallery, prepared.index(TRAIN)[0])
    np.testing.assert_allclose(columns["features"], outputs_of(program, prepared, TRAIN)[1], atol=1e-5)
    assert pq.read_schema(gallery).names == ["id", "logits", "features"]


def test_the_process_answers_as_the_function_does(planted, request_for):
    evaluator = Evaluator()
    try:
        answer = evaluator(request_for())
        again = evaluate(request_for())
        same = ("predictions", "program", "parameters", "macs")
        assert [answer[name] for name in same] == [again[name] for name in same]
        assert answer["modules"] == []
        with pytest.raises(PluginError, match=r"evaluation failed: SealError: .*missing\.pt2"):
            evaluator(request_for(program="missing.pt2"))
        assert evaluator(request_for())["predictions"] == answer["predictions"], "an error ends no process"
    finally:
        evaluator.close()


def test_a_process_that_dies_is_reported(request_for):
    evaluator = Evaluator()
    try:
        evaluator(request_for())
        evaluator._process.kill()
        evaluator._process.wait()
        with pytest.raises(PluginError, match=r"the evaluator process ended .*\.pt2"):
            evaluator(request_for())
        assert evaluator(request_for())["parameters"], "the next request starts a new process"
    finally:
        evaluator.close()


def test_a_request_survives_json(request_for):
    from dataclasses import asdict

    request = request_for(gallery=TRAIN)
    back = EvaluationRequest(**json.loads(json.dumps(asdict(request))))
    assert (back.gallery, tuple(back.inputs)) == (request.gallery, request.inputs)


class ClipNetwork(nn.Module):
    """Logits that differ strongly between clips; the mean colour as pooled features."""

    def forward(self, x):
        pooled = x.mean((2, 3, 4))
        return torch.stack([pooled[:, 2], 128 - pooled[:, 2]], 1), pooled


@pytest.fixture
def clips(source, tmp_path):
    return prepare(videos.Videos(), source, tmp_path / "data", codec="raw")


def outputs(prepared, rows, protocol="one", part="a"):
    request = EvaluationRequest("", "", "videos", protocol, "", part, ("rgb",), "")
    found = list(_outputs(ClipNetwork(), prepared, request, part, np.array(rows)))
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
    request = EvaluationRequest("", "", "videos", "one", "", "c", ("sound",), "")
    with pytest.raises(DataError, match="1 samples of part 'c' lack 'sound'"):
        list(_outputs(ClipNetwork(), clips, request, "c", np.arange(3)))
