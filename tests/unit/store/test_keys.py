"""Keys: what changes them, what does not, and that they need neither torch nor training."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass

import engine_lab as toys
import numpy as np
import pytest

import pmbench as pm
from pmbench.errors import ContractError
from pmbench.store import keys as identity
from pmbench.store.keys import backbone_identity, canonical, code_digest, digest

STAGE = toys.Imitator(toys.Plain("far"))

KEYS = """
import sys
from pathlib import Path
from pmbench.run.plan import Request, make_plan
from pmbench.plugins import load_plugins
from pmbench.store.store import Store
root = Path(sys.argv[1])
methods = ("hoffman", "gen_distill", "kd", "late_fusion")
request = Request(methods, ("planted",), ("shared-10",), seeds=(0,))
plan = make_plan(request, load_plugins(), root / "data", Store(root / "store"))
assert not [m for m in sys.modules if m == "torch" or m.startswith("torch.")], "torch was imported"
assert all(cell.stages or cell.skip for cell in plan.cells), [c.failure for c in plan.cells]
for cell in plan.cells:
    for stage, key in zip(cell.stages, cell.keys, strict=True):
        print(cell.method.name, stage.kind, stage.reads, key, sep="|")
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


def test_keys_are_stable_across_processes_shared_by_methods_and_need_no_torch(planned, afresh):
    code = KEYS.replace("sys.argv[1]", repr(str(planned)))
    first, second = (afresh(code, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second
    rows = [line.split("|") for line in first.splitlines()]
    streams = {}
    for method, kind, reads, key in rows:
        assert len(key) == 64
        if kind == "Stream" and reads == "('target_view',)":
            streams.setdefault(method, set()).add(key)
    shared = streams["target_only"]
    assert len(shared) == 1
    assert shared <= streams["hoffman"]
    assert shared <= streams["late_fusion"]
    assert len(streams["self_distill"] - shared) == 1  # its teacher is another replica


def key(lab, stage=STAGE):
    return lab.context.key(stage)


def test_fields_and_replica_change_the_key(lab):
    variants = [
        STAGE,
        toys.Imitator(toys.Plain("far"), weight=2.0),
        toys.Imitator(toys.Plain("far"), replica=1),
        toys.Imitator(toys.Plain("far", replica=1)),
        toys.Imitator(toys.Plain("far", dropout=0.1)),
        toys.Imitator(toys.Plain("far"), "wave"),
        toys.Plain("far"),
        toys.Plain("near"),
        toys.Supervised(),
        toys.Everything(),
        toys.Everything(("far", "near")),
    ]
    assert len({key(lab, stage) for stage in variants}) == len(variants)


def test_equal_stages_have_equal_keys_whatever_they_are_written_with(lab, tmp_path):
    whole, fraction = toys.Plain(dropout=0), toys.Plain(dropout=0.0)
    assert whole == fraction
    assert key(lab, whole) == key(toys.Lab(tmp_path), fraction)
    assert key(lab, toys.Plain(replica=True)) == key(toys.Lab(tmp_path), toys.Plain(replica=1))


def test_seed_and_recipe_change_the_key(lab):
    labs = [lab, lab.but(seed=1)]
    labs += [
        lab.but(recipe=lab.recipe.but(**{name: value}))
        for name, value in {
            "lr": 0.5,
            "epochs": 9,
            "batch_size": 9,
            "warmup": 0.1,
            "select": "best",
            "clip": 1.0,
            "milestones": (0.5,),
            "precision": "bf16",
            "weight_decay": 0.5,
        }.items()
    ]
    # Plain has a recipe of its own in optimiser and selection: those fields of the standard one do not matter
    assert len({key(each, toys.Imitator(toys.Supervised())) for each in labs}) == len(labs)
    assert key(lab, toys.Plain()) == key(
        lab.but(recipe=lab.recipe.but(select="best", optimizer="sgd")), toys.Plain()
    )


def test_backbones_of_the_modalities_it_reads_change_the_key(lab):
    other = lab.but(backbones={"near": toys.backbone("mlp-16")})
    assert key(other) != key(lab)
    assert key(other, toys.Plain("far")) == key(lab, toys.Plain("far"))
    mlp = toys.backbone("mlp-8")
    pretrained = lab.but(backbones={"near": dataclasses.replace(mlp, weights=pm.Weights("big", "0" * 64))})
    assert key(pretrained) != key(lab)
    assert backbone_identity(mlp)["size"] == 8


def test_the_version_of_a_library_changes_the_keys_of_backbones_made_of_it(lab, monkeypatch):
    mlp = toys.backbone("mlp-8")
    made = lab.but(backbones={"near": dataclasses.replace(mlp, libraries=("numpy",))})
    versions = {"now": np.__version__, "later": "99.0", "elsewhere": "99.0+cpu"}
    keys = {}
    for when, version in versions.items():
        monkeypatch.setattr("importlib.metadata.version", lambda name, found=version: found)
        keys[when] = key(made.but()), key(lab.but()), key(made.but(), toys.Plain("far"))
    assert keys["now"][0] != keys["later"][0] == keys["elsewhere"][0]
    assert keys["now"][1:] == keys["later"][1:]
    assert set(backbone_identity(mlp)) == {"name", "size", "code", "weights"}


def test_a_library_that_is_not_installed_is_told():
    mlp = dataclasses.replace(toys.backbone("mlp-8"), libraries=("nowhere-at-all",))
    with pytest.raises(ContractError, match="declares the library 'nowhere-at-all'"):
        backbone_identity(mlp)


def test_code_of_a_backbone_built_by_a_partial_is_that_of_its_function():
    mlp = toys.backbone("mlp-8")
    partly = dataclasses.replace(mlp, build=functools.partial(functools.partial(mlp.build)))
    assert backbone_identity(partly) == backbone_identity(mlp)


def test_data_that_it_reads_changes_the_key_and_other_data_does_not(lab, tmp_path):
    def changed(part, name):
        parts = toys.toy_parts()
        old = parts[part]
        if name == "labels":
            parts[part] = dataclasses.replace(old, labels=np.roll(old.labels, 1))
        elif name == "index":
            parts[part] = dataclasses.replace(old, ids=[f"{i}x" for i in old.ids])
        else:
            parts[part] = dataclasses.replace(old, arrays={**old.arrays, name: old.arrays[name] + 1})
        return key(toys.Lab(tmp_path / f"{part}-{name}", toys.Given(parts)))

    same = key(toys.Lab(tmp_path / "again", toys.Given()))
    assert same == key(lab)
    for part in ("train", "validation"):
        for name in ("near", "far", "labels", "index"):
            assert changed(part, name) != same, (part, name)
        assert changed(part, "wave") == same
    for name in ("near", "labels", "index"):
        assert changed("test", name) == same


def test_declarations_change_the_key(lab, tmp_path):
    def of(**declared):
        return key(toys.Lab(tmp_path / "-".join(declared), toys.Given(**declared)))

    modalities = {m.name: m for m in toys.Toy.modalities}
    grids = tuple(dataclasses.replace(m, grid="place") for m in modalities.values())
    changes = [
        of(version=2),
        of(name="other"),
        of(modalities=grids),
        of(classes=(*toys.CLASSES, "d")),
        of(metrics=("macro_f1", "accuracy")),
        of(positive_class=2),
    ]
    assert len({key(lab), *changes}) == 7
    units = tuple(dataclasses.replace(m, unit="m") for m in modalities.values())
    for harmless in (
        of(modalities=units),
        of(summary="so"),
        of(metrics=("accuracy",)),
        of(expected={"test": 30}),
    ):
        assert harmless == key(lab)
    assert key(toys.Lab(tmp_path / "jitter", toys.Jittered())) != key(lab)


def test_protocols(lab):
    assert key(lab.but(protocol="people")) != key(lab)
    assert key(lab.but(protocol="few-4")) not in {key(lab), key(lab.but(protocol="few-5"))}
    # either direction of privilege shares its stages, unless it decides which samples there are
    for name in ("validated", "people", "few-4"):
        assert key(lab.but(protocol=name)) == key(lab.but(protocol=f"{name}@far"))
    thinned = [
        key(lab.but(protocol=name)) for name in ("privileged-50", "privileged-50@far", "privileged-40")
    ]
    assert len({*thinned, key(lab)}) == 4


@dataclass(frozen=True)
class Holder(toys.Plain):
    held: object = None


@pytest.mark.parametrize(
    "held",
    [[1], {"a": 1}, {1}, object(), np.ones(2), np.int64(3), float("nan"), float("inf"), b"x", len, (1, [2])],
)
def test_fields_that_cannot_be_keyed(lab, held):
    with pytest.raises(ContractError):
        key(lab, Holder(held=held))


def test_fields_that_can(lab):
    held = [None, True, 2, 0.5, "a", (1, ("b", None)), (toys.Plain(),), (), "1", 1e300, np.float64(0.25)]
    assert len({key(lab, Holder(held=h)) for h in held}) == len(held)


def test_canonical():
    assert canonical({"b": (1, 2.5), "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert canonical({"x": 4.0}) == canonical({"x": 4})
    assert digest([1]) == "080a9ed428559ef602668b4c00f114f1a11c3f6b02a435f0bdc154578e4d7f22"
    with pytest.raises(ContractError, match="cannot be part of a key"):
        canonical({"x": object()})


def test_inputs_are_what_the_key_is_the_digest_of(lab):
    inputs = lab.context.inputs_of(STAGE)
    assert digest(json.loads(json.dumps(inputs))) == key(lab)
    assert inputs["fields"]["teacher"] == {"key": key(lab, toys.Plain("far"))}
    assert set(inputs["backbones"]) == {"near", "far"}
    assert set(inputs["dataset"]["files"]) == {"train", "validation"}


# --- code ---------------------------------------------------------------------------------------------------

PACKAGE = {
    "__init__.py": "",
    "stages.py": (
        '"""Doc."""\nimport pmbench as pm\nfrom .losses import term\n\ndef late():\n    from . import lazy\n'
    ),
    "losses.py": "from boxed import constants\n\ndef term(x):\n    return x * constants.W\n",
    "constants.py": "W = 2\n",
    "lazy.py": "L = 1\n",
    "unrelated.py": "U = 1\n",
}


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """Digest of `boxed.stages` with some of its files changed; nothing of it is ever imported."""
    root = tmp_path / "box"
    (root / "boxed").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(root))

    def of(module="boxed.stages", **changes):
        for name, text in PACKAGE.items():
            (root / "boxed" / name).write_text(changes.get(name.removesuffix(".py"), text))
        code_digest.cache_clear()
        return code_digest(module)

    yield of
    code_digest.cache_clear()


def test_code_of_the_module_and_of_what_it_imports(digest_of):
    plain = digest_of()
    assert digest_of(stages=PACKAGE["stages.py"] + "X = 1\n") != plain
    assert digest_of(losses=PACKAGE["losses.py"].replace("*", "+")) != plain
    assert digest_of(constants="W = 3\n") != plain
    assert digest_of(constants="W = 2.0\n") != plain
    assert digest_of(constants="W = '2'\n") != plain
    assert digest_of(lazy="L = 2\n") != plain
    assert digest_of(unrelated="U = 2\n") == plain
    assert digest_of() == plain


def test_comments_docstrings_and_layout_do_not_count(digest_of):
    plain = digest_of()
    text = (
        PACKAGE["stages.py"]
        .replace("Doc.", "Another.")
        .replace("def late():", "def late(\n):  # why\n    'says'")
    )
    assert digest_of(stages=text) == plain
    assert digest_of(losses="# first\n\n\n" + PACKAGE["losses.py"]) == plain
    assert digest_of(stages=PACKAGE["stages.py"].replace("def late", "def later")) != plain


CHECK = """
def check(x):
    if x < 0:
        raise ValueError(f'{x} is negative')
    assert x, 'zero'
    print(x)
    logger.info('x %s', x)
    bench.note('x')
    y = pm.option(2.0, 'weight')
    z = pm.method('x', paper='p')
"""


def test_messages_do_not_count(digest_of):
    check = CHECK
    plain = digest_of(losses=check)
    reworded = {
        "raise": check.replace("f'{x} is negative'", "'x must not be negative', x"),
        "assert": check.replace("'zero'", "'x is zero'"),
        "print": check.replace("    print(x)\n", ""),
        "log": check.replace("'x %s', x", "'%s'"),
        "note": check.replace("note('x')", "note('x is used')"),
        "teachers": check.replace("paper='p'", "paper='p', teachers='own'"),
        "search": check.replace("paper='p'", "paper='p', search={'weight': 'log [0.1, 10]'}"),
        "deliveries": check.replace("paper='p'", "paper='p', deliveries=(pm.Delivery({'x': 1}, 'all'),)"),
        "help": check.replace("'weight'", "help='weight of the term'"),
    }
    for what, text in reworded.items():
        assert text != check
        assert digest_of(losses=text) == plain, what
    changed = {
        "condition": check.replace("x < 0", "x <= 0"),
        "assert": check.replace("assert x,", "assert not x,"),
        "default": check.replace("2.0", "3.0"),
        "paper": check.replace("paper='p'", "paper='q'"),
        "call": check.replace("logger.info", "logger.add"),
        "no raise": check.replace("raise ValueError(f'{x} is negative')", "x = 0"),
    }
    for what, text in changed.items():
        assert digest_of(losses=text) != plain, what


def test_an_edit_is_seen_without_a_new_process(digest_of, tmp_path):
    plain = digest_of()
    path = tmp_path / "box" / "boxed" / "constants.py"
    path.write_text("W = 5\n")
    code_digest.cache_clear()
    assert code_digest("boxed.stages") != plain


def test_the_source_of_pmbench_is_its_engine_version(lab, monkeypatch):
    @dataclass(frozen=True)
    class Mine(pm.Distill):
        pass

    inputs = lab.context.inputs_of(Mine(toys.Plain("far"), ("near",)))
    assert inputs["code"] == [code_digest(__name__)]
    assert inputs["engine"] == identity.ENGINE_VERSION
    assert lab.context.inputs_of(pm.Stream("near"))["code"] == []
    assert lab.context.inputs_of(pm.Stream("near"))["stage"] == "pmbench:Stream"
    assert backbone_identity(toys.backbone("mlp-8"))["code"] == ""
    before = key(lab)
    monkeypatch.setattr(identity, "ENGINE_VERSION", identity.ENGINE_VERSION + 1)
    assert key(lab.but()) != before


def test_code_that_cannot_be_found():
    with pytest.raises(ContractError, match="nowhere_at_all"):
        code_digest("nowhere_at_all.stages")
