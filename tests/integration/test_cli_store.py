"""`pmbench store`."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import many_stages
import pytest

from pmbench.store.store import Store
from pmbench.store.uses import using

DAY = 86400


def keys(workspace: Any) -> list[str]:
    return [stage["key"] for stage in workspace.run_cli("store", "list", "--json").json()]


def leave_checkpoint(workspace: Any, name: str, days: float) -> Path:
    path = workspace.store / name[:2] / f"{name}.work"
    path.mkdir(parents=True)
    (path / "checkpoint").write_bytes(b"x" * 1000)
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def test_empty_store(run_cli: Any) -> None:
    assert "No finished stages" in run_cli("store", "list").stdout
    assert run_cli("store", "list", "--json").json() == []
    pruned = run_cli("store", "prune", "--all", "--yes")
    assert pruned.code == 0
    assert "Nothing to remove" in pruned.stdout


def test_list(finished: Any) -> None:
    stages = finished.run_cli("store", "list", "--json").json()
    assert sorted(s["stage"] for s in stages) == ["Distill", "EarlyFusion", "LateFusion", *["Stream"] * 3]
    assert all(s["size"] > 0 and s["seconds"] >= 0 and s["seed"] == 0 for s in stages)
    done = finished.run_cli("store", "list")
    assert done.code == 0
    assert all(s["key"][:12] in done.stdout for s in stages)
    assert "6 stages, " in done.stdout
    uses = sorted((s["stage"], *s["methods"]) for s in stages)
    assert uses == [
        ("Distill", "self_distill"),
        ("EarlyFusion", "early_fusion"),
        ("LateFusion", "late_fusion"),
        ("Stream", "late_fusion", "privileged_only"),
        ("Stream", "late_fusion", "target_only"),
        ("Stream", "self_distill"),
    ]
    (line,) = [line for line in done.stdout.splitlines() if "Distill" in line]
    assert " self_distill " in line


@pytest.mark.slow
def test_a_stage_names_all_methods_that_used_it(copied: Any) -> None:
    """Also those whose records are there already, and those of other runs."""
    kept = {s["key"]: s["methods"] for s in copied.run_cli("store", "list", "--json").json()}
    target_only = next(key for key, methods in kept.items() if "target_only" in methods)
    again = ("run", "-m", "target_only", "-d", "planted", "--seed", "0", "--no-references")
    quick = ("--set", "recipe.epochs=1", "--workers", "1", "--device", "cpu")
    shutil.rmtree(copied.store / target_only[:2] / target_only / "methods")
    assert copied.run_cli(*again, *quick).code == 0
    assert copied.run_cli("store", "show", target_only, "--json").json()["methods"] == ["target_only"]
    assert copied.run_cli(*[a.replace("target_only", "target_ensemble") for a in again], *quick).code == 0
    shown = copied.run_cli("store", "show", target_only).stdout
    assert "target_ensemble, target_only\n" in shown


def test_show(finished: Any) -> None:
    stages = finished.run_cli("store", "list", "--json").json()
    child = next(s for s in stages if s["stage"] == "Distill")
    found = finished.run_cli("store", "show", child["parents"][0], "--json").json()
    assert found["children"] == [child["key"]]
    assert "weights.safetensors" in found["files"]
    text = finished.run_cli("store", "show", child["key"][:8]).stdout
    for expected in (child["key"], child["parents"][0][:12], "temperature=4.0", "planted"):
        assert expected in text


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("00000000", "begins with '00000000'"),
        ("../..", "is not a key"),
        ("*", "is not a key"),
        ("", "is not a key"),
    ],
)
def test_bad_keys(finished: Any, key: str, expected: str) -> None:
    done = finished.run_cli("store", "prune", key, "--dry-run")
    assert done.code == 2
    assert expected in done.error


def test_an_ambiguous_prefix_is_refused(copied: Any) -> None:
    first, *others = keys(copied)
    twin = first[:20] + ("0" if first[20] != "0" else "1") + first[21:]
    folder = copied.store / first[:2]
    (folder / twin).mkdir()
    (folder / twin / "stage.json").write_bytes((folder / first / "stage.json").read_bytes())
    done = copied.run_cli("store", "prune", first[:16], "--yes")
    assert done.code == 2
    assert "2 keys begin with" in done.error
    assert len(keys(copied)) == len(others) + 2


def test_prune_asks_where_it_can(copied: Any) -> None:
    before = keys(copied)
    done = copied.run_cli("store", "prune", before[0][:12])
    assert done.code == 2
    assert before[0][:12] in done.stdout
    assert "--yes" in done.stderr
    dry = copied.run_cli("store", "prune", before[0][:12], "--dry-run")
    assert dry.code == 0
    assert "Would free" in dry.stdout
    assert keys(copied) == before


def test_prune_one(copied: Any) -> None:
    first, *others = keys(copied)
    done = copied.run_cli("store", "prune", first[:12], "--yes")
    assert done.code == 0
    assert "Removed 1 item, freed " in done.stdout
    assert "kB" in done.stdout
    assert keys(copied) == others


def test_prune_says_what_rests_on_what_goes(copied: Any) -> None:
    stages = copied.run_cli("store", "list", "--json").json()
    parent = next(s for s in stages if s["parents"])["parents"][0]
    assert "1 stored child stage of these" in copied.run_cli("store", "prune", parent, "--yes").stdout


def test_prune_by_age(copied: Any) -> None:
    old = copied.run_cli("store", "prune", "--older-than", "1", "--yes")
    assert "Nothing to remove" in old.stdout
    assert copied.run_cli("store", "prune", "--older-than", "0", "--yes").code == 0
    assert keys(copied) == []


def test_prune_all_keeps_checkpoints(copied: Any) -> None:
    checkpoint = leave_checkpoint(copied, "ab" * 32, days=3)
    assert copied.run_cli("store", "prune", "--all", "--yes").code == 0
    assert keys(copied) == []
    assert checkpoint.exists()


def test_prune_unfinished_takes_what_is_older_than_a_day(copied: Any) -> None:
    old, fresh = leave_checkpoint(copied, "ab" * 32, days=3), leave_checkpoint(copied, "cd" * 32, days=0.5)
    before = keys(copied)
    assert "1 unfinished stage" in copied.run_cli("store", "list").stderr
    done = copied.run_cli("store", "prune", "--unfinished", "--yes")
    assert done.code == 0
    assert "freed 1.0 kB" in done.stdout
    assert not old.exists()
    assert fresh.exists()
    assert keys(copied) == before


def test_pretrained_weights_are_told_of_and_their_half_downloads_removed(workspace: Any) -> None:
    folder = workspace.store / "pretrained"
    (folder / "names").mkdir(parents=True)
    names = ("download-0a-7.pth.d4.partial", "download-0a-7.pth", ".ab.safetensors.7.tmp", "names/.ab.7.tmp")
    for name in (*names, "download-0b-8.pth", "ab.safetensors", "names/ab.json"):
        (folder / name).write_bytes(b"x" * 1000)
    for name in names:
        then = time.time() - 3 * DAY
        os.utime(folder / name, (then, then))
    listed = workspace.run_cli("store", "list")
    assert "1 file of pretrained weights, 1.0 kB" in listed.stdout
    assert "4 unfinished stages, downloads or temporary files" in listed.stderr
    assert "freed 4.0 kB" in workspace.run_cli("store", "prune", "--unfinished", "--yes").stdout
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {"download-0b-8.pth", "ab.safetensors", "names/ab.json"}
    assert workspace.run_cli("store", "list", "--json").json() == []


def test_prune_by_size_takes_the_oldest(copied: Any) -> None:
    sizes = {s["key"]: s["size"] for s in copied.run_cli("store", "list", "--json").json()}
    first, _, *others = sizes
    limit = sum(sizes.values()) - sizes[first] - 1
    assert copied.run_cli("store", "prune", "--to-size", str(limit), "--yes").code == 0
    assert keys(copied) == others
    assert "Nothing to remove" in copied.run_cli("store", "prune", "--to-size", "1.5 TB", "--yes").stdout
    for odd in ("5 apples", "-1", "GB"):
        done = copied.run_cli("store", "prune", f"--to-size={odd}", "--yes")
        assert (done.code, "not a size" in done.error) == (2, True)


def test_prune_by_what_no_record_names(copied: Any) -> None:
    spare = many_stages.write(copied.store, 2)
    named = set(keys(copied)) - set(spare)
    prune = ("store", "prune", "--unused-by", copied.out)
    both = copied.run_cli(*prune, "--older-than", "1", "--to-size", "1kB", "--dry-run")
    assert all(f"{key[:12]}  " in both.stdout for key in spare)
    assert copied.run_cli(*prune, "--yes").code == 0
    assert set(keys(copied)) == named
    record = next((copied.out / "records").rglob("*.json"))
    record.write_text("{")
    many_stages.write(copied.store, 1, start=5)
    done = copied.run_cli(*prune, "--yes")
    assert (done.code, "is unknown" in done.stderr) == (2, True)
    done = copied.run_cli("store", "prune", "--unused-by", copied.root / "nowhere", "--yes")
    assert (done.code, "no record is there" in done.error) == (2, True)
    assert len(keys(copied)) == len(named) + 1


def test_prune_keeps_what_another_process_works_with(copied: Any) -> None:
    first, second, *_ = keys(copied)
    with Store(copied.store).lock(first), using(copied.store, [second]):
        done = copied.run_cli("store", "prune", "--all", "--yes")
    assert sorted(keys(copied)) == sorted([first, second])
    assert all(f"{key[:12]} is in use and was kept" in done.stderr for key in (first, second))


def test_verify_names_damaged_stages(copied: Any) -> None:
    first, second, *_ = before = keys(copied)
    whole = copied.run_cli("store", "verify")
    assert (whole.code, f"{len(before)} stages, 0 damaged" in whole.stdout) == (0, True)
    weights = copied.store / first[:2] / first / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    done = copied.run_cli("store", "verify")
    assert done.code == 1
    assert f"{first[:12]}  weights.safetensors has another digest than was stored\n" in done.stdout
    assert f"prune {first[:12]}`" in done.stderr
    assert copied.run_cli("store", "verify", second[:12]).code == 0
    found = copied.run_cli("store", "verify", "--json")
    assert found.code == 1
    (damage,) = json.loads(found.stdout)["damaged"]
    assert (damage["key"], damage["file"]) == (first, "weights.safetensors")
    assert keys(copied) == before


@pytest.mark.slow
def test_push_and_pull(copied: Any, tmp_path: Path) -> None:
    stages = {s["key"]: s for s in copied.run_cli("store", "list", "--json").json()}
    child = next(key for key, s in stages.items() if s["stage"] == "Distill")
    family = {child, *stages[child]["parents"]}
    there, other = tmp_path / "there", ("--store", tmp_path / "other")
    done = copied.run_cli("store", "push", there, child[:12])
    assert "Copied 2 stages from" in done.stdout
    assert "Copied 4 stages" in copied.run_cli("store", "push", there).stdout
    assert copied.run_cli("store", "pull", there, child[:12], *other).code == 0
    assert {s["key"] for s in copied.run_cli("store", "list", "--json", *other).json()} == family
    (there / child[:2] / child / "weights.safetensors").write_bytes(b"x")
    assert copied.run_cli("store", "prune", child[:12], "--yes", *other).code == 0
    done = copied.run_cli("store", "pull", there, *other)
    assert done.code == 1
    assert f"stage {child[:12]} in {there} is damaged: weights.safetensors" in done.stderr
    assert "Copied 4 stages" in done.stdout
    assert copied.run_cli("store", "verify", *other).code == 0
    for args, words in (((there, "0" * 12), "no stage"), ((tmp_path / "empty",), "no stage in")):
        done = copied.run_cli("store", "pull", *args, *other)
        assert (done.code, words in done.error) == (2, True)


def test_a_damaged_stage_is_named_and_can_be_removed(copied: Any) -> None:
    first, *others = keys(copied)
    folder = copied.store / first[:2] / first
    (folder / "stage.json").write_text("{")
    os.utime(folder)  # as if it had been written anew; `store verify` finds what changed in place
    os.utime(folder.parent)
    listed = copied.run_cli("store", "list")
    assert listed.code == 0
    assert f"stage {first[:12]} is damaged" in listed.stderr
    assert copied.run_cli("store", "show", first[:12]).code == 1
    assert copied.run_cli("store", "prune", first[:12], "--yes").code == 0
    assert keys(copied) == others


@pytest.mark.parametrize("args", [(), ("--yes",), ("--all", "abcd"), ("--older-than", "-1")])
def test_unclear_wishes(run_cli: Any, args: tuple[str, ...]) -> None:
    assert run_cli("store", "prune", *args).code == 2
