"""Contract checks that a plugin's author runs: three lines of pytest, or `pmbench check NAME`.

>>> from pmbench.testing import contract_tests
>>> test_contract = contract_tests("kd")  # doctest: +SKIP
"""

from __future__ import annotations

from .collect import checks_for, contract_tests, suites_for
from .outcome import Check, Failed, Result, Skipped, Suite

__all__ = ["Check", "Failed", "Result", "Skipped", "Suite", "checks_for", "contract_tests", "suites_for"]
