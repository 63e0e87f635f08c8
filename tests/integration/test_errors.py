"""Errors that a user can meet: what was wrong, what was expected, what to do; no traceback, no success."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pmbench
from pmbench.errors import PmbenchError

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"
KD = ("-m", "kd", "-d", "planted")
FLOOR = ("-m", "target_only", "-d", "planted")
STATED = ("--handle", "doe", "--contact", "doe@example.org", "--data-terms", "the official terms")
EXPECTS = re.compile(r"\bexpected\b|did you mean|; known: ")
"""Words that say what would be right; where a message has none of them, a hint says what to do."""

USAGE: dict[str, tuple[tuple[Any, ...], str]] = {
    # --- names
    "method": (("plan", "-m", "kb", "-d", "planted"), "unknown method 'kb'; did you mean 'kd'"),
    "method of a run": (("run", "-m", "kb", "-d", "planted"), "unknown method 'kb'; did you mean 'kd'"),
    "data set": (("plan", "-m", "kd", "-d", "plantd"), "unknown data set 'plantd'; did you mean 'planted'"),
    "protocol": (("plan", *KD, "-p", "shared-11"), "did you mean 'shared-10'"),
    "backbone": (("plan", *KD, "-b", "mlp-63"), "did you mean 'mlp-64'"),
    "recipe": (("plan", *KD, "--recipe", "amid/ucf51"), "of data set 'planted'; known: standard"),
    "option": (("plan", *KD, "--set", "temprature=2"), "did you mean 'temperature'?"),
    "field of the recipe": (("plan", *KD, "--set", "recipe.epoch=2"), "did you mean 'epochs'?"),
    "method of an option": (("plan", *KD, "--set", "kb.temperature=2"), "did you mean 'kd'"),
    "kind of a list": (("list", "metods"), "unknown kind 'metods'; did you mean 'methods'"),
    "data set of a list": (("list", "protocols", "-d", "plantd"), "'planted'"),
    "something to show": (("show", "plantd"), "unknown name 'plantd'; did you mean 'planted'"),
    "kind to show": (("show", "kd", "--kind", "metod"), "did you mean 'method'"),
    "something to check": (("check", "kb"), "did you mean 'kd'"),
    "data set to prepare": (("data", "prepare", "plantd"), "did you mean 'planted'"),
    "key of a stage": (("store", "show", "0xyz"), "'0xyz' is not a key"),
    "format": (("leaderboard", "--format", "latx"), "did you mean 'latex'"),
    "level": (("verify", ".", "--level", "perfect"), "unknown level 'perfect'"),
    "rows to compare": (("compare", "kd", "hofman", "--records", RECORDS), "did you mean 'hoffman'"),
    "kind of a plugin": (("new", "methods", "mine"), "plugin kind 'methods'; did you mean 'method'"),
    "command": (("lst",), "lst"),
    "flag": (("list", "--jsn"), "--jsn"),
    # --- values
    "text for a number": (("plan", *KD, "--set", "temperature=hot"), "temperature=hot: expected a number"),
    "choice": (("plan", *KD, "--set", "teacher=nobody"), "one of fused, privileged"),
    "out of the interval": (("plan", *KD, "--set", "temperature=-1"), "temperature' is -1.0"),
    "no value": (("plan", *KD, "--set", "temperature"), "--set temperature: expected name=value"),
    "no variant": (("plan", "-m", "kd[teacher", "-d", "planted"), "names no method"),
    "few-0": (("plan", *KD, "-p", "few-0"), "few-0 is not possible; expected a number of 1 or more"),
    "privileged-101": (("plan", *KD, "-p", "privileged-101"), "expected a number from 1 to 99"),
    "no epoch": (("plan", *KD, "--set", "recipe.epochs=0"), "trains nothing"),
    "huge seed": (("plan", *KD, "--seed", str(2**32)), "less than or equal to 4294967295"),
    "no seed": (("plan", *KD, "--seeds", "0"), "greater than or equal to 1"),
    "values": (("plan", *KD, "--values", "medium"), "expected paper or small"),
    "placebo": (("plan", *KD, "--placebo", "sugar"), "--placebo sugar: expected shuffle or noise"),
    "backbone of another kind": (("plan", *KD, "-b", "cnn2d-8"), "takes image"),
    "device": (("run", *FLOOR, "--device", "cuda:first"), "--device takes cpu, cuda, cuda:N or auto"),
    "name of a plugin": (("new", "method", "My-Method"), "'My-Method' cannot name a method"),
    "address of a plugin": (
        ("publish", ".", "--to", "b", *STATED, "--source", "x"), "--source x: expected PLUGIN=ADDRESS"
    ),
    # --- combinations
    "no method": (("plan",), "no method to run"),
    "two kinds of seeds": (("plan", *KD, "--seeds", "2", "--seed", "1"), "both given"),
    "no ablations": (("plan", *KD, "--ablate"), "kd declare"),
    "placebo of the floor": (("plan", *FLOOR, "--placebo", "noise"), "no method with privileged information"),
    "list of a data set": (("list", "methods", "-d", "hapt"), "--dataset cannot be used with methods"),
    "nothing to check": (("check",), "nothing to check"),
    "check all and some": (("check", "kd", "--all"), "names and --all were both given"),
    "two formats": (("leaderboard", "--json", "--format", "csv"), "two formats"),
    "check of a format": (("leaderboard", "--check", "--format", "csv"), "--check compares the pages"),
    "a row and itself": (("compare", "kd", "kd", "--records", RECORDS), "'kd' is compared with itself"),
    "method and record": (
        ("compare", "kd", next(RECORDS.rglob("kd-s0.json")), "--records", RECORDS), "a method and a record"
    ),
    "attest by nobody": (("verify", ".", "--by", "me"), "--attest and --by belong together"),
    "withdraw to nowhere": (("verify", ".", "--withdraw", "x"), "--withdraw writes files"),
    "nothing to remove": (("store", "prune"), "nothing to remove was given"),
    "remove all and some": (("store", "prune", "abc", "--all"), "--all and keys were both given"),
    "two sources": (("data", "prepare", "planted", "--download", "--source", "."), "both given"),
    # --- files
    "matrix": (("plan", "--matrix", "none.toml"), "none.toml cannot be read"),
    "records": (("leaderboard", "--records", "recrods"), "recrods is not a folder"),
    "submission": (("verify", "nothing"), "nothing is not a folder"),
    "nonce": (("verify", ".", "--nonce", "none"), "--nonce none cannot be read"),
    "nobody": (("publish", ".", "--to", "b"), "publish needs --handle, --contact, --data-terms"),
    "results for a repository": (("publish", ".", "--new-repo", "b"), "--new-repo takes no results"),
    "no results": (("publish", ".", "--to", "b", *STATED), ". holds no records"),
    "model": (("predict", "nowhere", "a.mp4"), "nowhere holds no exported model"),
    "folder of a plugin": (("new", "method", "mine", "--to", "/"), "/ exists already"),
}  # fmt: skip
"""Case -> arguments, and words of the error. Exit code 2."""
FAILURES: dict[str, tuple[tuple[Any, ...], int, str]] = {
    "out": (("run", *FLOOR, "--out", "/proc/nothing"), 1, "cannot write /proc/nothing"),
    "store": (("run", *FLOOR, "--store", "/proc/nothing"), 1, "cannot write /proc/nothing"),
    "nothing to check against": (("leaderboard", "--check"), 1, "holds no records"),
    "no site": (("leaderboard", "--site", "board"), 1, "holds no records to make a site of"),
    "source": (("data", "prepare", "planted", "--source", "nowhere"), 1, "nowhere does not exist"),
    "recordings": (("data", "new", "kitchen", "nowhere"), 1, "nowhere is not a folder"),
    "record": (("compare", "a.json", "b.json"), 1, "a.json"),
    "labels": (("plan", *FLOOR, "-p", "few-100000"), 3, "few-100000 needs 100000 labelled training samples"),
}
"""Case -> arguments, exit code, and words of the error."""
CASES = {case: (args, 2, words) for case, (args, words) in USAGE.items()} | FAILURES


@pytest.fixture(scope="module")
def quick(new_workspace: Callable[[str], Any]) -> Any:
    """A workspace whose commands load one distribution besides pmbench."""
    workspace = new_workspace("errors")
    return replace(workspace, environment=workspace.environment | {"PMBENCH_PLUGINS": "pmbench-kd"})


@pytest.mark.slow  # a command each
@pytest.mark.parametrize("case", CASES)
def test_the_form_of_an_error(quick: Any, case: str) -> None:
    arguments, code, words = CASES[case]
    done = quick.run_cli(*arguments)
    assert (done.code, words in done.stderr) == (code, True), done
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    hints = [line for line in lines if line.startswith(("Hint: ", "Try 'pmbench"))]
    assert len(errors) == 1, lines
    assert len(errors[0]) > len("Error: ") + 10
    assert EXPECTS.search(errors[0]) or hints, "an error says what was expected, or a hint what to do"
    if code == 2:
        assert not done.stdout, "nothing was done before the input was checked"


@pytest.mark.parametrize(
    ("call", "words", "advice"),
    [
        (lambda: pmbench.records("nowhere"), "nowhere does not exist; expected a folder", "give the folder"),
        (lambda: pmbench.plan([]), "need at least one each", "`pmbench list methods`"),
        (lambda: pmbench.plan("kd", seeds=0), "seeds=0; expected the number", "seeds=3"),
        (lambda: pmbench.plan(["kd", 3]), "3 is no name", "give a text"),  # type: ignore[list-item]
    ],
)
def test_errors_in_python_have_the_same_form(call: Callable[[], Any], words: str, advice: str) -> None:
    with pytest.raises(PmbenchError) as raised:
        call()
    assert words in raised.value.message
    assert advice in str(raised.value.hint)
