"""The line of a plugin that raised an exception, and tracebacks that are sent to other processes."""

from __future__ import annotations

import json
from types import ModuleType

import torch

from pmbench.errors import DataError, PluginError, as_answer, from_answer
from pmbench.tracebacks import LONGEST, error_text, place, trace_of


def raised(function) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError


def module(name: str, file: str, source: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(source, file, "exec"), made.__dict__)
    return made


HELPER = "def call(f):\n    return f()\n"


def test_the_innermost_frame_of_a_plugin_is_named() -> None:
    """Below it are frames of torch, of Python and of a library; above it those of the caller."""
    library = module("some_library.deep", "/x/site-packages/some_library/deep.py", HELPER)
    source = "def losses(f, call):\n    x = 1\n    return call(f)\n"
    stages = module("pmbench_kd.stages", "/x/src/pmbench_kd/stages.py", source)
    package = module("pmbench_kd", "/x/src/pmbench_kd/__init__.py", HELPER)
    for fault in (lambda: torch.zeros(2) @ torch.zeros(3), lambda: json.loads("{")):
        own = eval("lambda: fault()", {"__name__": "some_library", "fault": fault})
        error = raised(lambda own=own: package.call(lambda: stages.losses(own, library.call)))
        assert place(error) == "pmbench_kd/stages.py, line 3, in losses"
    assert place(raised(lambda: package.call(lambda: 1 / 0))) == "pmbench_kd/__init__.py, line 2, in call"


def test_a_built_in_method_is_a_plugin() -> None:
    built_in = module("pmbench.builtin.methods", "/x/pmbench/builtin/methods.py", HELPER)
    core = module("pmbench.training.loop", "/x/pmbench/training/loop.py", HELPER)
    torch_like = module("torch.nn", "/x/torch/nn.py", HELPER)
    error = raised(lambda: core.call(lambda: built_in.call(lambda: torch_like.call(json.loads))))
    assert place(error) == "pmbench/builtin/methods.py, line 2, in call"


def test_without_a_plugin_on_the_stack_no_line_is_named() -> None:
    core = module("pmbench.training.loop", "/x/pmbench/training/loop.py", "def call():\n    json\n")
    try:
        core.call()
    except NameError as error:
        inner = error.with_traceback(error.__traceback__.tb_next)
    assert place(inner) == ""
    assert error_text(inner) == "NameError: name 'json' is not defined"


def test_a_process_tells_its_traceback() -> None:
    for error, kind in ((KeyError("x"), PluginError), (DataError("no file", "get it"), DataError)):
        fault = raised(lambda error=error: (_ for _ in ()).throw(error))
        answer = json.loads(json.dumps(as_answer(fault)))
        told = from_answer(answer)
        assert type(told) is kind
        assert "in raised\n" in told.trace
        assert trace_of(told) == told.trace
        assert from_answer(as_answer(told)).trace == told.trace  # through a second process
    assert told.message == "no file"


def test_a_traceback_is_bounded_and_has_no_control_characters() -> None:
    told = from_answer({"kind": "DataError", "message": "", "trace": "a\x1b[2J\u202e" + "b" * 3 * LONGEST})
    assert len(told.trace) == LONGEST
    told = from_answer({"kind": "DataError", "message": "", "trace": "a\x1b[2J\u202e\nb"})
    assert told.trace == "a?[2J?\nb"
    deep = raised(lambda: module("deep", "/x/deep.py", "def f():\n    f()\n").f())
    assert len(trace_of(deep)) <= LONGEST
    assert isinstance(deep, RecursionError)
