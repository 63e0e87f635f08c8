"""The public contract checks over everything that is installed."""

import pytest

from pmbench.metrics.builtin import METRICS
from pmbench.plugins.registry import CORE
from pmbench.testing.collect import registry, report, suite_of, usual_case


def slow(kind, name):
    """Cases left out by default: a method on other kinds of input than its usual one, and most backbones.

    Of the backbones, the narrow ones of pmbench stay, and of each plugin one on its first kind of input, but
    for its export.
    """
    if kind == "method":
        usual = usual_case(registry().method(name))
        return lambda check: check.case not in ("", usual)
    if kind == "backbone" and not narrow(name):
        return lambda check: True
    if kind == "backbone" and (owner := distribution(name)) != CORE:
        first = next(n for n in registry().names(kind) if narrow(n) and distribution(n) == owner)
        case = next(check.case for check in suite_of(kind, name).checks)
        return lambda check: name != first or check.case != case or check.name.startswith("it_exports")
    return lambda check: False


def narrow(name):
    pretrained = bool(registry().offers["backbone"][name][0].value.pretrained)
    return (
        not pretrained and name.rpartition("-")[2] not in ("16", "32", "64") and f"{name}-w8" not in BACKBONES
    )


def distribution(name):
    return registry().offers["backbone"][name][0].distribution


BACKBONES = registry().names("backbone")
BY_KIND = {
    "early_fusion",
    "late_fusion",
    "mdms",
    "admd",
    "rad",
    "dad",
    "impute_ae",
}
"""Methods that look at maps, or join networks: their code depends on the kind of input. They are checked on
all kinds here, others on their usual kind; `pmbench check NAME` checks any method on all."""
LONGEST = ("overfits_eight_samples", "privilege_reaches_the_student")
"""They take most of the time of all checks, so that they run on the usual kind alone here."""
OF_WIDE = ("it_exports", "pooled_is_the_mean", "init_depends_only_on_seed")
"""Checks of wide and pretrained backbones here, on their first kind of input; `pmbench check` does all."""
OFFERS = [(kind, n) for kind in ("method", "dataset", "backbone") for n in registry().names(kind)]
CASES = [
    pytest.param(
        suite,
        check,
        id=f"{kind}-{name}-{check.name}",
        marks=[pytest.mark.slow] if is_slow(check) else [],
    )
    for kind, name in OFFERS
    for suite, is_slow in [(suite_of(kind, name), slow(kind, name))]
    for check in suite.checks
    if not is_slow(check)
    or (kind == "method" and name in BY_KIND and not check.name.startswith(LONGEST))
    or (kind == "backbone" and check.name.startswith(OF_WIDE) and check.case == suite.checks[0].case)
]


def test_nothing_installed_is_broken():
    found = registry()
    assert found.broken == []
    assert found.collisions() == []


def test_the_builtin_offers_are_among_them():
    assert {("method", "target_only"), ("dataset", "planted"), ("backbone", "mlp-64")} <= set(OFFERS)


def test_published_numbers_use_the_metrics_of_the_project():
    assert registry().published
    for number in registry().published:
        if number.metric != "parameters":
            assert METRICS[number.metric].higher_is_better is number.higher_is_better
            assert 0 <= number.value <= 100


def test_no_published_number_is_offered_twice():
    assert len(set(registry().published)) == len(registry().published)


def test_the_paper_has_a_number_for_every_ablation_that_says_so():
    places = {(p.paper, p.table, p.variant) for p in registry().published}
    for name in registry().names("method"):
        for row, ablation in registry().method(name).ablations.items():
            if ablation.printed:
                assert tuple(ablation.printed) in places, f"{name}, {row}: {ablation.printed}"


@pytest.mark.parametrize(("suite", "check"), CASES)
def test_contract(suite, check):
    report(suite, check)
