"""Test tools for plugin authors: contract checks (also `pmbench check NAME`) and fixtures.

`lab` builds stages and batches without data or training, `loops` has the shared losses in plain loops;
`parts_of`, `first_digests` and `run_afresh` are for the tests of data plugins.

May import: all rooms but builtin and cli.

>>> from pmbench.testing import contract_tests
>>> test_contract = contract_tests("kd")  # doctest: +SKIP
"""

from __future__ import annotations

from .collect import checks_for, contract_tests, suites_for
from .outcome import Check, Failed, Result, Skipped, Suite
from .pinned import first_digests, parts_of, run_afresh

__all__ = [
    "Check",
    "Failed",
    "Result",
    "Skipped",
    "Suite",
    "checks_for",
    "contract_tests",
    "first_digests",
    "parts_of",
    "run_afresh",
    "suites_for",
]
