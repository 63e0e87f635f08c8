"""Studies of `pmbench tune` without training: spaces, values, journal, files, and runs that take them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pmbench.contracts.search import Choices, Interval
from pmbench.data.prepare import prepare_named
from pmbench.errors import NothingToRun, StoreError, UnknownName, UsageError
from pmbench.plugins import Registry, load_plugins
from pmbench.run.executors.inline import Inline
from pmbench.run.plan import make_plan
from pmbench.run.progress import Quiet
from pmbench.run.request import Request
from pmbench.run.tuning.files import (
    JOURNAL,
    LEDGER,
    TUNED,
    Chosen,
    TunedFile,
    open_study,
    read_tuned,
    write_ledger,
    write_tuned,
)
from pmbench.run.tuning.journal import Journal, Trial
from pmbench.run.tuning.request import TuningRequest
from pmbench.run.tuning.sampling import batches, params_of, parzen, quasi_random, require_optuna
from pmbench.run.tuning.trials import Cells, check_validation, only_protocol, tunables
from pmbench.run.tuning.tune import Tuner, best_so_far
from pmbench.run.tuning.tuned import complete
from pmbench.run.worker import Resources
from pmbench.store.store import Store

SPACES = {
    "weight": Interval(0.1, 1000.0, log=True),
    "share": Interval(0.0, 1.0),
    "width": Interval(4, 64, whole=True),
    "form": Choices((None, "a", "b")),
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins()


def request_of(*methods: str, **changes: Any) -> TuningRequest:
    return TuningRequest(methods=methods, dataset="planted", **changes)


# --- values of trials ---------------------------------------------------------------------------------------


def test_quasi_random_values_fill_the_space_and_do_not_depend_on_their_number() -> None:
    found = quasi_random(SPACES, 16)
    assert found[:5] == quasi_random(SPACES, 5)
    assert len({json.dumps(values) for values in found}) == 16
    for values in found:
        assert list(values) == list(SPACES)
        assert 0.1 <= values["weight"] <= 1000
        assert values["weight"] == float(f"{values['weight']:.3g}")
        assert isinstance(values["width"], int)
    assert {values["form"] for values in found} == {None, "a", "b"}
    # a Sobol sequence has as many points in each quarter of an axis; a random one hardly ever has
    quarters = [sum(10**k <= v["weight"] < 10 ** (k + 1) for v in found) for k in range(-1, 3)]
    assert quarters == [4, 4, 4, 4]


def test_a_parzen_estimator_moves_towards_the_best_trials_and_repeats_itself(tmp_path: Path) -> None:
    spaces = {"weight": SPACES["weight"]}
    journal = Journal(tmp_path / JOURNAL, {"m": spaces}, higher_is_better=True)
    for number, values in enumerate(quasi_random(spaces, 16)):
        score = 90.0 if 3 < values["weight"] < 30 else 10.0
        journal.add(Trial("m", number, values, (score,)))
    found = [parzen(spaces, journal.frozen("m"), n, higher_is_better=True)["weight"] for n in range(16, 26)]
    assert found == [
        parzen(spaces, journal.frozen("m"), n, higher_is_better=True)["weight"] for n in range(16, 26)
    ]
    assert sum(1 < weight < 100 for weight in found) >= 8


def test_trials_are_chosen_at_once_where_none_depends_on_another() -> None:
    assert batches("qmc", 20) == [range(20)]
    assert batches("tpe", 4) == [range(4)]
    assert batches("tpe", 12) == [range(10), range(10, 11), range(11, 12)]


def test_defaults_outside_of_the_space_are_left_to_the_trial() -> None:
    values = {"weight": None, "share": 0.5, "width": 128, "form": "b"}
    assert params_of(SPACES, values) == {"share": 0.5, "form": 2}


def test_the_best_score_by_number_of_trials() -> None:
    assert list(best_so_far([None, 3.0, 1.0, None, 4.0], True)) == [None, 3.0, 3.0, 3.0, 4.0]
    assert list(best_so_far([3.0, 4.0, 2.0], False)) == [3.0, 3.0, 2.0]


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match="needs optuna") as caught:
        require_optuna()
    assert "pip install 'pmbench[tune]'" in str(caught.value.hint)


# --- requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 0}, "--trials 0: expected 1 or more"),
        ({"sampler": "grid"}, "--sampler grid: expected qmc or tpe"),
        ({"seeds": (1, 2), "confirming": (2, 3)}, "seed 2 is one of the search and one of the confirmation"),
    ],
)
def test_requests_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        request_of("kd", **changes)
    with pytest.raises(UsageError, match="no method to tune"):
        request_of()


def test_only_declared_options_that_are_not_given_are_searched(registry: Registry) -> None:
    found, without = tunables(
        request_of("kd", "kd[teacher=privileged,temperature=2]", "target_only", "hoffman",
                   sets=("hoffman.weight=3", "recipe.epochs=1")),
        registry,
    )  # fmt: skip
    assert [(one.label, list(one.spaces)) for one in found] == [
        ("kd", ["temperature", "imitation"]),
        ("kd[teacher=privileged,temperature=2.0]", ["imitation"]),
    ]
    assert without == {
        "target_only": "it declares no search space",
        "hoffman": "all options of its search space are given",
    }
    kd = found[0]
    assert kd.defaults == {"temperature": 4.0, "imitation": 0.9}
    assert kd.options({"temperature": 4.0, "imitation": 0.3}) == {"imitation": 0.3}
    with pytest.raises(UnknownName, match="unknown method 'hofman'"):
        tunables(request_of("hofman"), registry)
    with pytest.raises(UsageError, match="two of these are the same method"):
        tunables(request_of("kd", "kd[temperature=4]"), registry)


def test_trials_are_cells_with_the_keys_of_runs(registry: Registry, tmp_path: Path) -> None:
    request = request_of("kd", "self_distill")
    found, _ = tunables(request, registry)
    wanted = [(one, values) for one in found for values in (one.defaults, {**one.defaults, "imitation": 0.3})]
    cells = Cells(request, registry, tmp_path / "data", Store(tmp_path / "store"), wanted, (100, 101))
    run = Request(("kd", "kd[imitation=0.3]"), ("planted",), seeds=(100, 101), references=False)
    planned = make_plan(run, registry, tmp_path / "data", Store(tmp_path / "store")).cells
    of_kd = [key for _, values in wanted[:2] for key in cells.stages(found[0], values)]
    assert sorted(of_kd) == sorted(cell.keys for cell in planned)
    assert len(cells.plan.cells) == 8


def test_a_protocol_without_validation_data_is_refused(registry: Registry, tmp_path: Path) -> None:
    dataset = registry.dataset("planted")
    prepared = prepare_named(registry, "planted", dataset.find_source(), tmp_path / "data")
    protocol = only_protocol(request_of("kd"), registry)
    check_validation(prepared, protocol, (0,))
    unlabelled = dataclasses.replace(protocol, labels_per_class=0)
    with pytest.raises(UsageError, match="no labelled validation data under protocol"):
        check_validation(prepared, unlabelled, (0,))


# --- journal and files --------------------------------------------------------------------------------------


def trial(number: int, **changes: Any) -> Trial:
    values = {"weight": 1.0, "share": 0.5, "width": 8, "form": "a"}
    return Trial("m", number, values, (50.0, 60.0), 1.5, (("k" * 64,), ("l" * 64,)), **changes)


def test_a_journal_keeps_trials_and_repairs_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    journal = Journal(path, {"m": SPACES}, higher_is_better=True)
    failed = Trial("m", 1, {"weight": 1e4, "share": 0.5, "width": 8, "form": "a"}, failure="it is not finite")
    journal.add(trial(0))
    journal.add(failed)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "worker')
    kept = Journal(path, {"m": SPACES}, higher_is_better=True)
    assert kept.trials("m") == {0: trial(0), 1: failed}
    assert (kept.trials("m")[0].score, failed.score) == (55.0, None)
    assert path.read_bytes() == whole
    kept.add(trial(2))
    assert sorted(Journal(path, {"m": SPACES}, higher_is_better=True).trials("m")) == [0, 1, 2]


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    journal = Journal(path, {"m": SPACES}, higher_is_better=True)
    journal.add(trial(0))
    lines = path.read_bytes().splitlines(keepends=True)

    def refuses(content: bytes, said: str) -> None:
        path.write_bytes(content)
        with pytest.raises(StoreError, match=said) as caught:
            Journal(path, {"m": SPACES}, higher_is_better=True)
        assert "remove the folder of the study" in str(caught.value.hint)

    refuses(b"".join([*lines[:-1], b"not JSON\n", lines[-1]]), f"{JOURNAL} is damaged: line .* is no JSON")
    refuses(b"".join(lines).replace(b'"number":0', b'"number":"0"'), "trial 0 of m: Expected `int`")
    refuses(b"".join([*lines, lines[-1]]), "m has a trial twice")
    refuses(b'{"op_code": 99}\n', "optuna cannot read it")


def test_a_folder_with_a_study_of_another_request_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    assert open_study(folder, request_of("kd"), {"data": "d"}) == "first"
    assert open_study(folder, request_of("kd"), {"data": "d"}) == "first"
    with pytest.raises(
        UsageError, match="another command: --method kd, now kd,rkd; --trials 20, now 30; other data"
    ):
        open_study(folder, request_of("kd", "rkd", trials=30), {"data": "e"})
    (folder / "study.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match=r"study\.json is damaged"):
        open_study(folder, request_of("kd"), {"data": "d"})


# --- in a run -----------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The files of a finished study of `kd`."""
    folder = tmp_path / "first"
    folder.mkdir()
    ledger = write_ledger(folder, (100,), [trial(0), trial(1)], [])
    chosen = Chosen("kd", {}, {"imitation": "0.3", "temperature": "2.0"}, 1, (50.0, 55.0), (51.0, None))
    write_tuned(
        folder,
        TunedFile(
            "first", "planted", "shared-10", "", "", "", "accuracy", 2, "qmc", (100,), (101,), ledger,
            {"kd": chosen}, {},
        ),
    )  # fmt: skip
    return folder


def test_a_run_has_tuned_rows_beside_those_of_the_methods(
    registry: Registry, study: Path, tmp_path: Path
) -> None:
    request = complete(Request((), (), seeds=(0, 1)), study, registry)
    assert (request.methods, request.datasets, request.protocols) == (("kd",), ("planted",), ("shared-10",))
    cells = make_plan(request, registry, tmp_path / "data", Store(tmp_path / "store")).cells
    default, tuned = (cell for cell in cells if cell.method.name == "kd" and cell.spec.seed == 0)
    assert (default.options, default.variant.study) == ({}, None)
    assert tuned.options == {"imitation": 0.3, "temperature": 2.0}
    assert tuned.variant.study is not None
    assert tuned.variant.study.name == "first"
    assert tuned.variant.study.digest == read_tuned(study)[1]
    assert "-tuned" in tuned.path.name
    # the same options, set by hand, are another row with the same stages
    by_hand = Request(("kd[imitation=0.3,temperature=2]",), ("planted",), seeds=(0,), references=False)
    (same,) = make_plan(by_hand, registry, tmp_path / "data", Store(tmp_path / "store")).cells
    assert same.keys == tuned.keys
    assert (same.identity, same.path) != (tuned.identity, tuned.path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets": ("hapt",)}, "--dataset hapt: the study 'first' was made with planted"),
        ({"protocols": ("other",)}, "--protocol other: the study 'first' was made with shared-10"),
        ({"backbones": ("mlp-8",)}, "--backbone mlp-8: the study 'first' was made with the default"),
        ({"methods": ("hoffman",)}, "has tuned kd, not hoffman"),
        ({"seeds": (0, 100)}, "seed 100 has chosen the values of the study 'first'"),
        ({"value_set": "small"}, "--values small and --tuned are both values"),
    ],
)
def test_a_run_that_a_study_is_not_for(
    registry: Registry, study: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        complete(dataclasses.replace(Request(("kd",), ()), **changes), study, registry)


def test_a_study_that_was_changed_or_has_not_ended_is_refused(
    registry: Registry, study: Path, tmp_path: Path
) -> None:
    def refuses(kind: type[Exception], said: str) -> None:
        with pytest.raises(kind, match=said):
            complete(Request(("kd",), ()), study, registry)

    ledger, tuned = (study / LEDGER).read_bytes(), (study / TUNED).read_bytes()
    (study / LEDGER).write_bytes(ledger.replace(b"50.0", b"58.0"))
    refuses(StoreError, "trials.jsonl has another digest")
    (study / LEDGER).write_bytes(ledger)
    (study / TUNED).write_bytes(tuned.replace(b'"format": 1', b'"format": 2'))
    refuses(StoreError, "the study in .* is damaged")
    (study / TUNED).write_bytes(tuned.replace(b"55.0", b"45.0").replace(b"50.0", b"NaN"))
    refuses(StoreError, "is damaged")
    (study / TUNED).unlink()
    refuses(UsageError, "holds no study")
    (study / "study.json").write_text("{}", encoding="utf-8")
    refuses(UsageError, "holds a study that has not finished")


@pytest.mark.slow
def test_trials_that_fail_count_and_say_why(registry: Registry, tmp_path: Path) -> None:
    out = tmp_path / "failing"
    resources = Resources(tmp_path / "store", tmp_path / "data")
    request = request_of("kd", trials=2, sets=("recipe.epochs=1", "recipe.lr=1e30"))

    def tuner(watcher: Quiet) -> Tuner:
        return Tuner(request, registry, resources, out, 0, watcher, Inline)

    class Interrupting(Quiet):
        def begin(self, stages: int, cells: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuner(Interrupting()).execute()
    for _ in range(2):  # the second time the journal has all trials
        with pytest.raises(NothingToRun, match="tuned: kd: every trial failed: stage EarlyFusion: term 'ce'"):
            tuner(Quiet()).execute()
        first, second = map(json.loads, (out / LEDGER).read_text(encoding="utf-8").splitlines())
        assert (first["number"], second["number"], first["score"], second["scores"]) == (0, 1, None, [])
        assert first["failure"] == second["failure"], "that of their teacher"
    assert "every trial failed" in (out / "summary.md").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match=r"has tuned none of its methods"):
        complete(Request(("kd",), ()), out, registry)
