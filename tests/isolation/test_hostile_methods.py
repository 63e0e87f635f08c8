"""Methods that cheat or break: each is caught and named, and the others in the same run are unharmed."""

import pytest

pytestmark = pytest.mark.slow  # real runs

CAUGHT = {
    "keepsonthenetwork": ("KeepsOnTheNetwork",),
    "readsundeclared": ("ReadsUndeclared", "privileged_view"),
    "opensbyopen": ("OpensByOpen", "shared-10-test/labels.npy"),
    "opensbynumpy": ("OpensByNumpy", "shared-10-test/target_view.npy"),
    "opensbymemmap": ("OpensByMemmap", "shared-10-test/privileged_view.npy"),
    "opensbyos": ("OpensByOs", "shared-10-test/labels.npy"),
    "opensbyfolder": ("OpensByFolder", "planted-v"),
    "opensbypathlib": ("OpensByPathlib", "shared-10-test/labels.npy"),
    "opensbylink": ("OpensByLink", "shared-10-test/labels.npy"),
    "opensbytorch": ("OpensByTorch", "Permission denied"),
    "opensbyarrow": ("OpensByArrow", "Permission denied"),
    "opensbysubprocess": ("OpensBySubprocess", "Permission denied"),
    "opensbylibc": ("OpensByLibc", "Permission denied"),
    "clearstheguard": ("ClearsTheGuard", "Permission denied"),
    "opensanothermodality": ("OpensAnotherModality", "Permission denied"),
    "writesintothestore": ("WritesIntoTheStore", "Permission denied"),
    "writesintotheresults": ("WritesIntoTheResults", "Permission denied"),
    "leavesafile": ("LeavesAFile", "Permission denied"),
    "killsitsparent": ("KillsItsParent", "Operation not permitted"),
    "connects": ("Connects", "Permission denied"),
    "staysintraining": ("StaysInTraining", "training mode"),
    "normalisesoverthebatch": ("NormalisesOverTheBatch", "batch norm in training mode"),
    "movesrunningstatistics": ("MovesRunningStatistics", "batch norm in training mode"),
    "memorisesbysample": ("MemorisesBySample", "sample index"),
    "drawsattest": ("DrawsAtTest", "random"),
    "dropsattest": ("DropsAtTest", "random"),
    "asksforastranger": ("AsksForAStranger", "Stream", "not among its fields"),
    "raisesinbuild": ("RaisesInBuild.build", "hostile_mod", "no networks today"),
    "raisesinlosses": ("RaisesInLosses.losses", "hostile_mod", "no losses today"),
    "raisingplan": ("h_raisingplan", "KeyError", "no plan today"),
    "exitsinlosses": ("ExitsInLosses", "SystemExit"),
    "exitsinbuild": ("ExitsInBuild", "SystemExit"),
    "exitingplan": ("h_exitingplan", "SystemExit"),
    "peekingplan": ("h_peekingplan", "labels.npy"),
    "peekswhilesealing": ("PeeksWhileSealing", "labels.npy"),
}
FINE = ("target_only", "early_fusion", "self_distill", "kd", "h_base")
HARMLESS = ("h_looksforprivilege", "h_printsinlosses", "h_keepsprivilegedbatch")


@pytest.fixture(scope="module")
def crowd(new_site, tmp_path_factory, trained, hostile_source):
    """One run of all hostile methods that fail, with some that do not."""
    root = tmp_path_factory.mktemp("crowd")
    (root / "store").symlink_to(trained.root / "store")
    (root / "data").symlink_to(trained.root / "data")
    site = new_site(root).install("pmbench-hostile", "hostile_mod", hostile_source)
    names = [f"h_{name}" for name in CAUGHT]
    result = site.run(",".join([*names, *FINE, *HARMLESS]), "--json", workers=2)
    return site, result, site.records()


@pytest.mark.parametrize("name", CAUGHT)
def test_it_is_caught_and_named(crowd, name):
    _, result, records = crowd
    assert result.code == 1, result.text
    record = records[f"h_{name}"]
    assert record["status"] == "failed", record
    for word in CAUGHT[name]:
        assert word in record["reason"], record["reason"]


@pytest.mark.parametrize("name", FINE)
def test_the_others_are_unharmed(crowd, name):
    assert crowd[2][name]["status"] == "done"


def test_what_a_module_keeps_in_training_is_gone_when_it_is_sealed(crowd):
    """Sealing and evaluation run in other processes."""
    assert crowd[2]["h_keepsprivilegedbatch"]["status"] == "done"


def test_a_method_that_looks_for_privilege_finds_none_when_it_is_tested(crowd):
    record = crowd[2]["h_looksforprivilege"]
    assert record["status"] == "done"
    assert record["cell"]["test_modalities"] == ["target_view"]


def test_what_a_method_prints_does_not_mix_with_the_results(crowd):
    _, result, _ = crowd
    assert {r["cell"]["method"] for r in result.json["records"]} >= set(FINE)


def test_check_names_what_looks_for_privilege(new_site, tmp_path):
    site = new_site(tmp_path).install("pmbench-hostile", "hostile_mod", LOOKS)
    result = site("check", "looks", "--json")
    assert result.code == 1, result.text
    failed = {c["check"]: c["reason"] for c in result.json[0]["checks"] if c["outcome"] == "failed"}
    assert all(name.startswith("privileged_input_is_ignored") for name in failed)
    assert "privileged hidden there in a test batch" in failed["privileged_input_is_ignored[vector]"]


LOOKS = '''
from dataclasses import dataclass
import pmbench as pm

@dataclass(frozen=True)
class Looks(pm.Stage):
    target: str
    privileged: str

    @property
    def reads(self):
        return (self.target, self.privileged)

    def build(self, bench):
        from torch import nn

        class Both(nn.Module):
            def __init__(self, a, b, name):
                super().__init__()
                self.a, self.b, self.name = a, b, name

            def forward(self, batch):
                output = self.a(batch)
                if self.name not in batch:
                    return output
                return output._replace(logits=output.logits + self.b(batch).logits)

        a, b = bench.classifier(self.target), bench.classifier(self.privileged)
        return pm.Nets(student=Both(a, b, self.privileged))

    def losses(self, nets, batch):
        both, alone = nets.student(batch).logits, nets.student.a(batch).logits
        return {"ce": pm.cross_entropy(both, batch.labels) + pm.cross_entropy(alone, batch.labels)}

@pm.method("looks", paper="none")
def looks(setting):
    """Looks whether the privileged modality is there"""
    return Looks(setting.only_target(), setting.only_privileged())

@pm.hookimpl
def pmbench_methods():
    return (looks,)
'''


def test_one_that_kills_its_worker_is_caught_and_named(site, hostile_source):
    site.install("pmbench-hostile", "hostile_mod", hostile_source)
    result = site.run("h_diesinlosses,kd", workers=2)
    assert result.code == 1, result.text
    records = site.records()
    assert records["kd"]["status"] == "done"
    assert records["h_diesinlosses"]["status"] == "failed"
    for word in ("DiesInLosses", "died 2 times", "exit code 0"):
        assert word in records["h_diesinlosses"]["reason"]
