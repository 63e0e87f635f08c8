"""Published numbers for a cell, and what differs from the run of the paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..contracts.protocol import averages_of, with_sampling, without_sampling
from ..contracts.published import Published
from ..contracts.samples import Sampling
from ..report.record import Average, PublishedNumber
from .plan import PlannedCell

UNDECLARED = "the paper's setting is not declared"


def published_for(cell: PlannedCell, published: Iterable[Published]) -> list[PublishedNumber]:
    """Published numbers of the row of an ablation, or else of the method, in the order of `published`.

    Placebos and floors of matched compute have none. `differs` of a number on the same data says how the run
    departs from that of the paper.
    """
    dataset = cell.context.dataset
    return _published(cell, published, without_sampling(dataset, cell.context.protocol).name)


def averages_for(cell: PlannedCell, published: Iterable[Published]) -> list[Average]:
    """The means over protocols that a cell belongs to, with their published numbers."""
    dataset, protocol = cell.context.dataset, cell.context.protocol
    names = averages_of(dataset, without_sampling(dataset, protocol))
    found = averages_of(dataset, protocol)
    numbers = list(published) if found else []
    return [
        Average(protocol=name, of=of, published=_published(cell, numbers, printed))
        for (name, of), printed in zip(found.items(), names, strict=True)
    ]


def _published(cell: PlannedCell, published: Iterable[Published], protocol: str) -> list[PublishedNumber]:
    """Published numbers of a cell under the name of a protocol."""
    variant, dataset = cell.variant, cell.context.dataset
    if variant.placebo or variant.matched:
        return []
    place = (cell.method.name, dataset.name, protocol)

    def belongs(number: Published) -> bool:
        if variant.ablation:
            printed = cell.method.ablations[variant.ablation].printed
            return (number.paper, number.table, number.variant) == printed
        return (number.method, number.dataset, number.protocol) == place

    return [
        PublishedNumber(
            paper=number.paper,
            table=number.table,
            variant=number.variant,
            test_modalities=list(number.test_modalities),
            dataset=number.dataset,
            protocol=number.protocol,
            metric=number.metric,
            value=number.value,
            higher_is_better=number.higher_is_better,
            differs=list(differences(cell, number.paper)) if number.dataset == dataset.name else [],
        )
        for number in published
        if belongs(number)
    ]


def differences(cell: PlannedCell, paper: str) -> Iterator[str]:
    """How a cell departs from what a paper ran on its data set, a phrase each."""
    dataset, method = cell.context.dataset, cell.method
    named = [(name, setup) for name, setup in dataset.setups.items() if paper in setup.papers]
    if not named:
        yield UNDECLARED
        return
    name, setup = named[0]
    defaults = {option.name: option.default for option in method.options().values()}
    row = method.ablations[cell.variant.ablation].options if cell.variant.ablation else {}
    theirs = {**defaults, **setup.options.get(method.name, {}), **row}
    usual = {**dataset.backbones, **setup.backbones}
    weights = {modality: found.name for modality, found in cell.spec.weights}
    for option, own in {**defaults, **cell.options}.items():
        if own != theirs[option]:
            yield f"{option} {own} instead of {theirs[option]}"
    for field, (standard, changed) in cell.standard.departures(dataset.recipes[name]).items():
        yield f"{field} {changed} instead of {standard}"
    for modality, backbone in cell.spec.backbones:
        if backbone != usual[modality]:
            yield f"{backbone} for {modality} instead of {usual[modality]}"
        own, theirs_ = weights.get(modality, "none"), setup.weights.get(modality, "none")
        if own != theirs_:
            yield f"weights of {modality} {own} instead of {theirs_}"
    sampling = cell.context.protocol.sampling
    intended = with_sampling(dataset, dataset.default_protocol, setup.sampling).sampling
    if sampling and intended and sampling != intended:
        yield f"{_sampling_text(sampling)} instead of {_sampling_text(intended)}"
    yield from setup.differs


def _sampling_text(sampling: Sampling) -> str:
    return f"{sampling.frames} {'spread' if sampling.even else 'consecutive'} frames"
