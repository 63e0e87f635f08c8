"""Data sets and backbones that break their contract, plugins that do not load, names offered twice."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # real runs

SOURCE = (Path(__file__).parent / "hostile_data.txt").read_text(encoding="utf-8")
TWICE = '''
import pmbench as pm

@pm.method("twice", paper="none")
def twice(setting):
    """Offered by two distributions"""
    return pm.Stream(*setting.target)

@pm.hookimpl
def pmbench_methods():
    return (twice,)
'''


@pytest.fixture(scope="module")
def data(new_site, tmp_path_factory):
    return new_site(tmp_path_factory.mktemp("data")).install("pmbench-hostile-data", "hostile_data", SOURCE)


def test_overlapping_ids_are_caught_and_named(data):
    result = data.run("target_only", dataset="h-overlapping")
    assert result.code == 1, result.text
    for word in ("h-overlapping", "'train' and 'test'", "both-0"):
        assert word in result.err


def test_check_names_overlapping_ids(data):
    result = data("check", "h-overlapping", "--json")
    assert result.code == 1
    failed = {c["check"]: c["reason"] for c in result.json[0]["checks"] if c["outcome"] == "failed"}
    assert "both-0" in failed["ids_are_unique_and_disjoint"]


def test_a_backbone_that_lies_about_its_maps_is_caught_and_named(data):
    result = data.run("target_only", "--backbone", "h-liar-8", "--out", "liar", dataset="h-fine")
    assert result.code == 1, result.text
    reason = data.records("liar")["target_only"]["reason"]
    assert "h-liar-8" in reason
    assert "16 channels" in reason


@pytest.mark.science
def test_check_names_a_backbone_that_lies(data):
    result = data("check", "h-liar-8", "--json")
    assert result.code == 1
    failed = {c["check"] for c in result.json[0]["checks"] if c["outcome"] == "failed"}
    assert "features_are_as_declared[sequence-6x32]" in failed


def test_a_data_set_takes_no_part_in_the_evaluation(data):
    """It is not imported there, and what it prints and says of its modalities has no effect."""
    result = data.run("target_only", "--out", "printing", dataset="h-printing", workers=0)
    assert result.code == 0, result.text
    assert data.records("printing")["target_only"]["digests"]["predictions"] != "forged"
    assert not list(data.root.rglob("imported"))


BROKEN = {"raises": "raise ImportError('no such luck')", "exits": "import sys; sys.exit(3)", "damaged": "1 +"}


@pytest.fixture
def broken(site):
    """A site with plugins that cannot be loaded."""
    for name, source in BROKEN.items():
        site.install(f"pmbench-{name}", f"{name}_mod", source)
    return site


def test_plugins_that_do_not_load_are_named(broken):
    listed = broken("plugins", "--json")
    assert listed.code == 0, listed.text
    names = {f"pmbench-{name}" for name in BROKEN}
    assert {b["distribution"] for b in listed.json["broken"]} == names
    for words in (("run", "--method", "broken", "--dataset", "planted"), ("check", "broken")):
        result = broken(*words)
        assert result.code == 2
        assert all(name in result.err for name in names)


def test_the_others_run_beside_plugins_that_do_not_load(broken):
    result = broken.run("target_only", "--no-references")
    assert result.code == 0, result.text
    assert broken.records()["target_only"]["status"] == "done"


def test_a_name_offered_twice_names_both(site):
    site.install("pmbench-first", "first_mod", TWICE).install("pmbench-second", "second_mod", TWICE)
    for words in (("run", "--method", "twice", "--dataset", "planted"), ("check", "twice")):
        result = site(*words)
        assert result.code == 1, result.text
        assert "'twice' is offered by pmbench-first and pmbench-second" in result.err
    assert site("check", "mlp-0").code == 0
