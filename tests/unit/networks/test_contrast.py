"""Projection head and memory bank: what counts as negative, and how rows move."""

import numpy as np
import pytest
import torch

import pmbench as pm

LABELS = torch.tensor([0, 1, 0, -1, 2, -1, 1, 1])


@pytest.fixture
def bank():
    torch.manual_seed(0)
    return pm.MemoryBank(LABELS, 5)


def test_projections_have_length_1():
    torch.manual_seed(0)
    head = pm.ProjectionHead(4, 3)
    x = torch.randn(6, 4)
    linear = x.numpy() @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    expected = [row / np.sqrt(sum(v * v for v in row)) for row in linear]
    np.testing.assert_allclose(head(x).detach().numpy(), expected, atol=1e-6)


def test_others_are_all_that_are_not_known_to_share_the_class(bank):
    found = bank.others(torch.arange(8))
    for i in range(8):
        for j in range(8):
            known = LABELS[i] >= 0 and LABELS[i] == LABELS[j]
            assert found[i, j] == (i != j and not known), (i, j)


@pytest.mark.parametrize("count", [1, 3, 5, 6, 8, 100])
def test_negatives_never_share_the_class_and_never_repeat(bank, count):
    index = torch.tensor([0, 3, 7])
    positions, valid = bank.negatives(index, count)
    allowed = bank.others(index)
    assert valid.sum(1).tolist() == [min(count, n) for n in allowed.sum(1).tolist()]
    for row, ok, may in zip(positions, valid, allowed, strict=True):
        drawn = row[ok].tolist()
        assert len(set(drawn)) == len(drawn)
        assert may[drawn].all()


def test_negatives_are_drawn_anew_and_alike_often(bank):
    counts = torch.zeros(8)
    for _ in range(600):
        positions, valid = bank.negatives(torch.tensor([0]), 2)
        counts[positions[valid]] += 1
    assert counts[[0, 2]].sum() == 0
    assert counts[[1, 3, 4, 5, 6, 7]].min() > 150  # 200 expected, standard deviation 12


def test_rows_never_written_may_be_left_out(bank):
    bank.update(torch.tensor([1, 4]), torch.randn(2, 5))
    positions, valid = bank.negatives(torch.tensor([0, 1]), 8, only_written=True)
    assert [row[ok].tolist() for row, ok in zip(positions, valid, strict=True)] == [[1, 4], [4]]


def test_start_and_update(bank):
    bound = (3 / 5) ** 0.5
    assert bank.rows.abs().max() <= bound
    assert bank.rows.std() == pytest.approx(bound / 3**0.5, rel=0.2)
    torch.testing.assert_close(pm.MemoryBank(LABELS, 5, unit=True).rows.norm(dim=1), torch.ones(8))
    before, new = bank.rows, torch.randn(2, 5)
    kept = before.clone()
    bank.update(torch.tensor([6, 2]), new)
    assert torch.equal(before, kept), "a loss may still need the rows of before"
    for place, vector in ((6, new[0]), (2, new[1])):
        moved = 0.5 * kept[place] + 0.5 * vector
        torch.testing.assert_close(bank.rows[place], moved / moved.norm())
    rest = [0, 1, 3, 4, 5, 7]
    assert torch.equal(bank.rows[rest], kept[rest])
    assert bank.written.nonzero().flatten().tolist() == [2, 6]


def test_a_bank_is_made_of_buffers(bank):
    assert not list(bank.parameters())
    assert {"rows", "labels", "written"} == set(bank.state_dict())
    again = pm.MemoryBank(torch.full((8,), -1), 5)
    again.load_state_dict(bank.state_dict())
    assert torch.equal(again.labels, LABELS)


def test_an_update_does_not_disturb_a_backward_pass(bank):
    x = torch.randn(2, 5, requires_grad=True)
    loss = (x @ bank.rows.T).sum()
    expected = bank.rows.sum(0)
    bank.update(torch.tensor([0, 1]), x.detach())
    loss.backward()
    torch.testing.assert_close(x.grad, expected.expand(2, -1))
