"""On a GPU (`pytest -m gpu`): bit-identical repetition and resuming, and agreement with a CPU."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import engine_lab as toys
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import videos

from pmbench.data.prepare import find_or_prepare, prepare
from pmbench.evaluation.evaluator import PRELOAD, EvaluationRequest, Evaluator
from pmbench.evaluation.inference import Part, Runner
from pmbench.evaluation.seal import seal
from pmbench.files import file_digest
from pmbench.isolation.forkserver import Forkserver
from pmbench.plugins import load_plugins
from pmbench.training.device import make_exact

CUDA = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
]
RECIPE = toys.RECIPE.but(lr=1e-3, batch_size=4, schedule="cosine")


class Clips(videos.Videos):
    """Videos for training, their clips encoded by 3-D convolutions."""

    backbones = {**videos.Videos.backbones, "rgb": "cnn3d-8", "flow": "cnn3d-8"}  # noqa: RUF012


def from_memory(root: Path) -> toys.Lab:
    return toys.Lab(root, recipe=RECIPE, device=CUDA)


def from_files(root: Path) -> toys.Lab:
    prepare(Clips(), videos.write(root / "source", each=8), root / "data", codec="raw")
    return toys.Lab(root, Clips(), "one", recipe=RECIPE, device=CUDA)


PLACES = {
    "memory": (from_memory, ("near", "far")),
    "maps in memory": (from_memory, ("wave", "echo")),
    "files": (from_files, ("rgb", "flow")),
}
STAGES = {
    "two optimizers": lambda target, privileged: toys.Adversarial(0.3, target, privileged),
    "frozen teacher": lambda target, privileged: toys.Imitator(toys.Plain(privileged), target),
}


@pytest.fixture(params=["32", "bf16"])
def precision(request):
    return request.param


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    """(laboratory on the GPU, target modality, privileged modality)."""
    make, modalities = PLACES[request.param]
    return make(tmp_path), *modalities


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_training_is_bit_identical_twice_and_after_each_interruption(place, precision, stage):
    lab, target, privileged = place
    stage = stage(target, privileged)
    once = lab.training(stage, 2, precision)
    assert next(once.nets.parameters()).device.type == CUDA
    expected = {name: t.clone() for name, t in once.run().state_dict().items()}
    assert {t.dtype for t in expected.values() if t.is_floating_point()} == {torch.float32}
    assert all(t.isfinite().all() for t in expected.values())
    for after in (0, 1, 2):  # 0: from the beginning

        def stop(done, total, after=after):
            if done == after > 0:
                raise KeyboardInterrupt

        lab.store.checkpoint_path(once.key).unlink(missing_ok=True)
        if after:
            with pytest.raises(KeyboardInterrupt):
                lab.training(stage, 2, precision).run(stop)
        again = lab.training(stage, 2, precision)
        assert toys.same(again.run().state_dict(), expected)
        assert again.curve_csv() == once.curve_csv()


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_gpu_and_cpu_have_equal_loss_terms(place, precision, stage):
    """The terms of every epoch; without dropout, whose random draws differ on a GPU."""
    lab, target, privileged = place
    stage = stage(target, privileged)
    stage = toys.Adversarial(0.0, target, privileged) if isinstance(stage, toys.Adversarial) else stage
    curves = []
    for parent in stage.parents:
        lab.train(parent)
    for on_device in (lab, lab.but(device="cpu")):
        on_device.store.checkpoint_path(on_device.context.key(stage)).unlink(missing_ok=True)
        training = on_device.training(stage, precision=precision)
        training.run()
        terms = sorted(set(training.state.curve[0]) - {"epoch", "validation"})
        curves.append([[row[term] for term in terms] for row in training.state.curve])
    rtol, atol = (1e-2, 5e-3) if precision == "32" else (0.1, 0.1)
    np.testing.assert_allclose(*curves, rtol=rtol, atol=atol)


def test_a_sealed_program_has_equal_logits_on_gpu_and_cpu(place):
    lab, target, _ = place
    stage = toys.Plain(target)
    lab.train(stage)
    part = lab.context.protocol.split.test
    samples = Part(part, {target: lab.prepared.column(part, target, lab.context.protocol)})
    make_exact()
    predictions = []
    for device in ("cpu", CUDA, CUDA):
        program = torch.export.load(seal(stage, lab.context, lab.store, (target,)))
        if device != "cpu":
            program = torch.export.passes.move_to_device_pass(program, device)
        sampling = lab.context.protocol.sampling
        moments = sampling.moments() if sampling else [0.5]
        with torch.no_grad():
            predictions.append(Runner(program.module(), moments, device).run(samples)[0])
    np.testing.assert_allclose(predictions[1], predictions[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(predictions[1], predictions[2])


def test_full_precision_is_that_of_float32():
    make_exact()
    rng = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 64, 8, 28, 28, generator=rng), torch.randn(64, 64, 3, 3, 3, generator=rng)
    exact = torch.conv3d(x.double(), w.double())
    error = torch.conv3d(x.to(CUDA), w.to(CUDA)).cpu().double() - exact
    assert float(error.abs().max() / exact.abs().max()) < 1e-5  # 1e-3 in TF32


def test_a_run_is_bit_identical_twice(tmp_path):
    """With workers and evaluator process; afterwards a CPU evaluates the same program."""
    runs = []
    for name in ("one", "two"):
        places = [f"--{what}={tmp_path / name / what}" for what in ("store", "out")]
        done = subprocess.run(
            [sys.executable, "-m", "pmbench", "run", "--method=cgan", "--dataset=planted", "--seed=0",
             f"--device={CUDA}", "--set=recipe.epochs=2", "--set=recipe.precision=bf16",
             f"--data={tmp_path / 'data'}", "--json", *places],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout)["records"])
    for one, two in zip(*runs, strict=True):
        assert one["provenance"]["device"] == CUDA
        assert one["digests"]["predictions"] == two["digests"]["predictions"]
        assert one["digests"]["program"] == two["digests"]["program"]
    record = next(r for r in runs[0] if r["cell"]["method"] == "cgan")
    (program,) = (
        path
        for path in (tmp_path / "one" / "store").rglob("*.pt2")
        if file_digest(path) == record["digests"]["program"]
    )
    prepared = find_or_prepare(load_plugins().dataset("planted"), tmp_path / "data")
    server, logits, out = Forkserver(PRELOAD, {}), [], tmp_path / "again.parquet"
    protocol = prepared.dataset.protocol("shared-10")
    request = EvaluationRequest(program, file_digest(program), prepared, protocol, ("target_view",), out)
    for device in ("cpu", CUDA):
        answer = Evaluator(server)(dataclasses.replace(request, device=device))
        logits.append(np.stack(pq.read_table(out).column("logits").to_pylist()))
    server.close()
    assert answer["predictions"] == record["digests"]["predictions"]
    np.testing.assert_allclose(*logits, rtol=1e-3, atol=1e-4)
