"""`--weights`: a file and a name, in the command line's own process and in its workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # real runs

OFFERS = """
import pmbench as pm

def build(modality, size):
    from pmbench_net import networks
    return networks.build(modality)

@pm.hookimpl
def pmbench_backbones():
    kinds = frozenset({"vector"})
    pretrained = pm.Pretrained({"big": "http://127.0.0.1:9/big.pth"}, dict)
    yield pm.Backbone("net", kinds, frozenset({"pooled"}), "linear", 0, build, pretrained=pretrained)
    yield pm.BackboneFamily("nets/", kinds, frozenset({"pooled"}), "many", member)

def member(name):
    if name != "one":
        raise pm.UnknownName("net", name, ["one"])
    return pm.Backbone("nets/one", frozenset({"vector"}), frozenset({"pooled"}), "one", 0, build)
"""
NETWORKS = """
import pmbench as pm
from torch import nn

def build(modality):
    return pm.Encoder(nn.Linear(modality.channels, 4), [nn.Tanh()], nn.Identity(), (), 4)
"""
RUN = ("--method", "target_only", "--dataset", "planted", "--seeds", "1", "--set", "recipe.epochs=1")


@pytest.fixture
def net(workspace: Any) -> Any:
    """A workspace with the backbone `net` and the family `nets/`, and a file of weights for both."""
    import torch
    from safetensors.torch import save_file

    workspace.install("pmbench-net", OFFERS)
    (workspace.site / "pmbench_net.py").unlink()
    (workspace.site / "pmbench_net").mkdir()
    (workspace.site / "pmbench_net" / "__init__.py").write_text(OFFERS)
    (workspace.site / "pmbench_net" / "networks.py").write_text(NETWORKS)
    weights = {"stem.weight": torch.full((4, 50), 0.01), "stem.bias": torch.ones(4)}
    save_file(weights, workspace.root / "mine.safetensors")
    return workspace


def records(workspace: Any) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((workspace.out / "records").rglob("*.json"))]


def test_a_file_is_used_by_workers_and_named_in_records_and_board(net: Any) -> None:
    run = ("run", *RUN, "--no-references", "--device", "cpu", "--workers", "1", "--backbone", "net")
    assert net.run_cli(*run).code == 0
    done = net.run_cli(*run, "--weights", "target_view=mine.safetensors")
    assert done.code == 0, done.stderr
    assert "1 stage trained" in done.stdout
    plain, pretrained = sorted(records(net), key=lambda r: len(r["cell"]["backbones"]["target_view"]))
    assert plain["cell"]["backbones"]["target_view"] == "net"
    label = pretrained["cell"]["backbones"]["target_view"]
    assert label.startswith("net (mine ")
    assert pretrained["stages"][0]["key"] != plain["stages"][0]["key"]
    assert any(label in page.read_text() for page in (net.out / "tables").iterdir())
    # a referee with the same weights plans the key that depends on all digits of their digest
    stale = ("verify", "results/records", "--stale", "--plugin", "pmbench-net")
    assert "0 of 2 records are stale" in (checked := net.run_cli(*stale)).stdout, checked.stderr
    assert "not checked" not in checked.stdout
    assert "the referee has no pretrained weights mine" in net.run_cli(*stale, "--store", "empty").stdout
    (net.root / "mine.safetensors").rename(net.root / "other.safetensors")
    again = net.run_cli(*run, "--weights", "target_view=other.safetensors")
    assert "0 stages trained" in again.stdout


def test_out_of_reach_is_exit_code_2(net: Any) -> None:
    done = net.run_cli("plan", *RUN, "--backbone", "net", "--weights", "big")
    assert done.code == 2
    assert "http://127.0.0.1:9/big.pth" in done.error
    assert "--weights none" in done.stderr


def test_unknown_weights(net: Any) -> None:
    done = net.run_cli("run", *RUN, "--backbone", "net", "--weights", "bgi")
    assert done.code == 2
    assert "did you mean 'big'" in done.error


def test_a_family_is_listed_once_and_makes_members(net: Any) -> None:
    listed = net.run_cli("list", "backbones", "--json").json()
    assert [b["name"] for b in listed if b["name"].startswith("nets")] == ["nets/..."]
    assert net.run_cli("show", "nets/one", "--json").json()["summary"] == "one"
    assert net.run_cli("plan", *RUN, "--backbone", "nets/one").code == 0
    done = net.run_cli("plan", *RUN, "--backbone", "nets/on")
    assert done.code == 2
    assert "did you mean 'one'" in done.error


def test_show_names_the_addresses(net: Any) -> None:
    assert "big: http://127.0.0.1:9/big.pth" in net.run_cli("show", "net").stdout
