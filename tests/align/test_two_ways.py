"""What a GPU does, so that nobody waits for it, gives the numbers of what a CPU does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from torch import Tensor

from crossalign.align import ALIGNERS, Alignment, CNALoss, ILALoss
from crossalign.align.directions import Directions
from crossalign.config import component_options
from crossalign.tensors.functional import contrastive_sum, unit_rows
from crossalign.tensors.tables import SomeRows

WHO_ASKS = (
    *(f"align.{module}" for module in ("batch", "item", "neighbor")),
    *(f"tensors.{module}" for module in ("functional", "ids", "tables")),
)
OPTIONS = {
    name: {"n_prototypes": 6}
    for name in ALIGNERS.names()
    if "n_prototypes" in ALIGNERS[name].options()
} | {"composed": {"terms": ({"name": "ila"}, {"name": "cna"}, {"name": "infonce"})}}
CASES = [(name, OPTIONS.get(name, {})) for name in ALIGNERS.names()]
READINGS = [{"directions": rule} for rule in get_args(Directions)]
READINGS += [{"feedback": "inner_product"}, {"spread_over": "users"}]
CASES += [("cross", {"n_prototypes": 6, **reading}) for reading in READINGS]


@pytest.fixture
def out_of_reach(monkeypatch: pytest.MonkeyPatch):
    """`out_of_reach()`: from now on no value is at hand, as on a GPU."""

    def hide() -> None:
        for module in WHO_ASKS:
            monkeypatch.setattr(f"crossalign.{module}.at_hand", lambda x: False)

    return hide


def found(p: SimpleNamespace, name: str, options: dict[str, object]) -> dict[str, Tensor]:
    """Terms and gradients of an alignment, always with the same parameters and draws."""
    torch.manual_seed(0)
    entry = ALIGNERS[name]
    values = component_options("alignment", entry, options)
    wanted = entry.cls.wants_neighbors(values)
    extra = {"neighbors": p.neighbors} if wanted else {}
    alignment: Alignment = entry.cls(4, p.names, missing=p.missing, **extra, **values).double()
    content = dict(zip(p.names, p.content, strict=True))
    terms = alignment.terms(p.user, p.item, content, p.users, p.items)
    leaves = {"user": p.user, "item": p.item, **content, **dict(alignment.named_parameters())}
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    total = torch.stack(list(terms.values())).sum()
    options_of_grad = {"allow_unused": True, "materialize_grads": True}
    gradients = torch.autograd.grad(total, list(leaves.values()), **options_of_grad)
    return {**terms, **dict(zip(leaves, gradients, strict=True)), **alignment.diagnostics()}


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing rows"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_both_ways_agree(name, options, missing, problem, out_of_reach) -> None:
    p = problem(2, n_pairs=20, missing=missing)
    near = found(p, name, options)
    out_of_reach()
    far = found(p, name, options)
    assert set(near) == set(far)
    for key, value in near.items():
        torch.testing.assert_close(far[key], value, rtol=1e-10, atol=1e-12, msg=key)


def test_missing_rows_are_not_read_from_afar_either(problem, out_of_reach) -> None:
    """NaN in them must not reach a gradient, not even multiplied by zero."""
    out_of_reach()
    p = problem(2, missing=True)
    with torch.no_grad():
        for name, table in zip(p.names, p.content, strict=True):
            table[p.missing[name]] = torch.nan
    ila, cna = ILALoss(4).double(), CNALoss(p.neighbors).double()
    loss = ila(p.user, p.item, *p.content, p.users, p.items, missing=p.missing)
    (loss + cna(p.item, *p.content, p.items, missing=p.missing)).backward()
    assert loss.isfinite()
    assert all(table.grad.isfinite().all() for table in (p.item, *p.content))


def test_a_row_that_is_not_there_is_noticed_from_afar(out_of_reach) -> None:
    table = SomeRows(torch.tensor([1, 3]), torch.eye(2))
    out_of_reach()
    assert table[torch.tensor([3, 1])].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    with pytest.raises(RuntimeError):
        table[torch.tensor([2])]


@pytest.mark.parametrize("temperature", [0.001, 0.2])
def test_forbidden_candidates_are_as_if_they_were_not_there(temperature: float) -> None:
    rng = torch.Generator().manual_seed(0)
    anchors, candidates = (
        unit_rows(torch.randn(n, 4, generator=rng, dtype=torch.float64)) for n in (5, 7)
    )
    positives = torch.tensor([0, 2, 3, 5, 6])
    allowed = torch.tensor([True, False, True, True, False, True, False])
    weights = allowed[positives].double()
    scale = torch.tensor(temperature, dtype=torch.float64)
    ours = contrastive_sum(anchors, candidates, positives, scale, weights, allowed=allowed)
    place = allowed.cumsum(0) - 1
    kept = allowed[positives]
    plain = contrastive_sum(anchors[kept], candidates[allowed], place[positives[kept]], scale)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    nobody = torch.zeros_like(allowed)
    assert contrastive_sum(anchors, candidates, positives, scale, 0 * weights, allowed=nobody) == 0
