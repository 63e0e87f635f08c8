"""The order of a run's work: `kd` (a teacher, then a student) and `target_only` on the planted data set."""

from __future__ import annotations

from pathlib import Path

import pytest

import pmbench.run.queue as queueing
from pmbench.plugins import load_plugins
from pmbench.run.plan import make_plan, needed
from pmbench.run.queue import Queue
from pmbench.run.request import Request
from pmbench.run.worker import Seal, Train
from pmbench.store.store import Store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def plan(data, store):
    request = Request(("kd", "target_only"), ("planted",), seeds=(0,), references=False)
    return make_plan(request, load_plugins(), data, store)


@pytest.fixture
def queue(plan) -> Queue:
    return Queue(needed(plan, plan.cells), plan.cells)


@pytest.fixture
def keys(plan) -> tuple[str, str, str]:
    """Keys of kd's teacher, of kd's student, and of target_only's network."""
    kd, target_only = plan.cells
    (teacher,) = plan.nodes[kd.key].parents
    return teacher, kd.key, target_only.key


def write_program(store: Store, cell) -> None:
    store.folder(cell.key).mkdir(parents=True, exist_ok=True)
    store.put_program(cell.key, cell.inputs, lambda path: path.write_bytes(b"a program"))


def test_a_student_waits_for_its_teacher(queue, keys) -> None:
    teacher, student, alone = keys
    first, second = queue.next_task(), queue.next_task()
    assert [first.key, second.key] == [teacher, alone]
    assert isinstance(first, Train)
    assert queue.next_task() is None
    queue.complete(first)
    assert queue.next_task().key == student
    assert queue.next_task() is None
    assert queue.open


def test_a_trained_stage_is_sealed_before_others_are_trained(queue, keys) -> None:
    teacher, _, alone = keys
    tasks = {task.key: task for task in (queue.next_task(), queue.next_task())}
    queue.complete(tasks[teacher])
    queue.complete(tasks[alone])
    seal = queue.next_task()
    assert isinstance(seal, Seal)
    assert (seal.key, seal.inputs) == (alone, ("target_view",))
    assert isinstance(queue.next_task(), Train), "each program is sealed once"


def test_a_cell_is_ready_once_its_program_is_written(queue, plan, store, keys) -> None:
    _, target_only = plan.cells
    assert queue.take_ready(store, {}) == []
    write_program(store, target_only)
    assert queue.take_ready(store, {}) == [], "a program of an untrained stage is not evaluated"
    for task in (queue.next_task(), queue.next_task()):
        queue.complete(task)
    assert queue.take_ready(store, {}) == [target_only]
    assert queue.take_ready(store, {}) == []


def test_stages_that_rest_on_a_failed_one_are_dropped(queue, plan, store, keys) -> None:
    teacher, student, alone = keys
    assert queue.next_task().key == teacher
    assert queue.fail(teacher) == [student]
    reasons = dict.fromkeys((teacher, student), ValueError("nan"))
    assert queue.take_ready(store, reasons) == [plan.cells[0]]
    assert queue.next_task().key == alone
    assert queue.next_task() is None


def test_a_failed_seal_ends_its_cell_alone(queue, plan, store, keys) -> None:
    kd, target_only = plan.cells
    queue.unsealed[target_only.key, target_only.inputs] = ValueError("cannot be exported")
    assert queue.take_ready(store, {}) == [target_only]
    assert queue.cells == [kd]


def test_a_postponed_stage_is_ready_again_after_release(queue, keys) -> None:
    teacher, _, alone = keys
    busy = queue.next_task()
    queue.postpone(busy)
    assert queue.next_task().key == alone
    assert queue.next_task() is None
    assert queue.open
    queue.release()
    again = queue.next_task()
    assert again.key == busy.key == teacher
    queue.complete(again)


def test_a_postponed_seal_is_next_again(queue, keys) -> None:
    *_, alone = keys
    for task in (queue.next_task(), queue.next_task()):
        queue.complete(task)
    seal = queue.next_task()
    assert (type(seal), seal.key) == (Seal, alone)
    queue.postpone(seal)
    assert queue.next_task() == seal


def test_stored_stages_are_sealed_without_training(plan, store) -> None:
    for node in plan.nodes.values():
        node.stored = True
    queue = Queue(needed(plan, plan.cells), plan.cells)
    assert [type(queue.next_task()), type(queue.next_task()), queue.next_task()] == [Seal, Seal, None]
    for cell in plan.cells:
        write_program(store, cell)
    assert queue.take_ready(store, {}) == plan.cells
    assert not queue.open


def test_a_queue_begins_where_it_is_told(plan, keys) -> None:
    nodes = needed(plan, plan.cells)
    assert [*nodes] == list(keys)
    queue = Queue(nodes, plan.cells, start=0.7)
    assert [queue.next_task().key for _ in range(2)] == [keys[2], keys[0]]


def test_a_stage_that_another_process_trains_is_named_once(queue, monkeypatch) -> None:
    first, second = queue.next_task(), queue.next_task()
    queue.postpone(first, busy=True)
    assert queue.stuck() is None, "it has just begun"
    monkeypatch.setattr(queueing, "PATIENCE", 0.0)
    assert queue.stuck() is first
    queue.postpone(second, busy=True)
    assert queue.stuck() is None, "one line tells of both"
    queue.release()
    queue.complete(first)
    queue.postpone(second)
    assert queue.stuck() is None, "its worker died"
    queue.release()
    queue.postpone(second, busy=True)
    assert queue.stuck() is second
