"""The public contract checks over everything that is installed."""

import pytest

from pmbench.report.published import printed_at
from pmbench.testing.collect import registry, report, suite_of


def marks(kind, name):
    """Backbones of published size are slow; their narrow sisters, and their plugins' own tests, are not."""
    if kind != "backbone":
        return []
    known = registry().offers[kind]
    return [pytest.mark.slow] if known[name][0].value.pretrained or f"{name}-w8" in known else []


OFFERS = [(kind, name) for kind, names in registry().offers.items() for name in sorted(names)]
CASES = [
    pytest.param(suite, check, id=f"{kind}-{name}-{check.name}", marks=marks(kind, name))
    for kind, name in OFFERS
    for suite in [suite_of(kind, name)]
    for check in suite.checks
]


def test_nothing_installed_is_broken():
    found = registry()
    assert found.broken == []
    assert found.collisions() == []


def test_the_builtin_offers_are_among_them():
    assert {("method", "target_only"), ("dataset", "planted"), ("backbone", "mlp-64")} <= set(OFFERS)


def test_the_paper_has_a_number_for_every_ablation_that_says_so():
    for name in registry().names("method"):
        for row, ablation in registry().method(name).ablations.items():
            if ablation.printed:
                assert printed_at(ablation.printed), f"{name}, {row}: not in published.csv"


@pytest.mark.parametrize(("suite", "check"), CASES)
def test_contract(suite, check):
    report(suite, check)
