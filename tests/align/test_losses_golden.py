"""The published numbers: golden vectors of any size, and the hand case of the CROSS notes."""

import pytest
import torch

from crossalign.align import CLALoss, CNALoss, ILALoss, sinkhorn

LETTERS = {"i": "image", "t": "text", "d": "id"}
TABLES = ("user", "id", "image", "text")

# Not in the files, so the losses' defaults: CNA's temperature 0.2; Sinkhorn's epsilon 0.05 and its
# 3 rounds.
published = pytest.mark.golden("", "golden")


def agrees(value, expected, tolerance=1e-6):
    scale = max(float(expected.abs().max()), 1e-12)
    torch.testing.assert_close(value.detach() / scale, expected / scale, rtol=0, atol=tolerance)


def leaves(case, names=TABLES):
    return [case[name].clone().requires_grad_() for name in names]


@published
@pytest.mark.parametrize("rule", ["oneway", "dynamic"])
def test_item_level(case, rule):
    tables = leaves(case)
    ila = ILALoss(tables[0].shape[1], leaky_bi=rule == "dynamic").double()
    with torch.no_grad():
        ila.temperature.copy_(case["ila_temperature"])
        for key in ("i2t", "t2i", "i2d", "d2i", "t2d", "d2t"):
            name = f"{LETTERS[key[0]]}_to_{LETTERS[key[2]]}"
            ila.maps[name].weight.copy_(case[f"ila_{key}"])
    loss = ila(*tables, case["users"], case["items"])
    loss.backward()
    agrees(loss, case[f"ila_{rule}_loss"])
    assert tables[0].grad is None, "users get no gradient"
    assert not case[f"ila_{rule}_grad_user"].any()
    for name, table in zip(TABLES[1:], tables[1:], strict=True):
        agrees(table.grad, case[f"ila_{rule}_grad_{name}"])
    agrees(ila.temperature.grad, case[f"ila_{rule}_grad_temperature"])
    for key in ("i2t", "t2i", "i2d", "d2i", "t2d", "d2t"):
        name = f"{LETTERS[key[0]]}_to_{LETTERS[key[2]]}"
        agrees(ila.maps[name].weight.grad, case[f"ila_{rule}_grad_{key}"])


@published
def test_cluster_level(case):
    tables = leaves(case)
    n_prototypes, dim = case["cla_prototypes_user_item"].shape
    cla = CLALoss(K=n_prototypes, D=dim).double()
    with torch.no_grad():
        cla.temperature.copy_(case["cla_temperature"])
        for name in ("prototypes_user_item", "prototypes_modalities"):
            getattr(cla, name).copy_(case[f"cla_{name}"])
    loss = cla(*tables, case["users"], case["items"])
    loss.backward()
    agrees(loss, case["cla_loss"])
    for name, table in zip(TABLES, tables, strict=True):
        agrees(table.grad, case[f"cla_grad_{name}"])
    for name in ("temperature", "prototypes_user_item", "prototypes_modalities"):
        agrees(getattr(cla, name).grad, case[f"cla_grad_{name}"])


@published
def test_sinkhorn(case):
    agrees(sinkhorn(case["sinkhorn_in"]), case["sinkhorn_out"])


@published
@pytest.mark.parametrize("part", ["cna", "reg"])
@pytest.mark.parametrize("reduction", ["mean", "param_attn"])
def test_neighbor_level(case, reduction, part):
    tables = leaves(case, TABLES[1:])
    cna = CNALoss(case["friends"], reduction=reduction, reg_weight=1.0).double()
    if reduction == "param_attn":
        with torch.no_grad():
            cna.rank_weights.copy_(case["cna_param_attn_weight"])
    contrast, reg = cna.terms(*tables, case["items"]).values()
    value = contrast if part == "cna" else reg
    value.backward()
    prefix = f"cna_{reduction}_"
    agrees(value, case[prefix + ("loss" if part == "cna" else "reg")])
    for name, table in zip(TABLES[1:], tables, strict=True):
        grad = "grad_" if part == "cna" else "reg_grad_"
        agrees(table.grad, case[f"{prefix}{grad}{name}"])


# The hand case: everything written out, so that it can be checked with a pocket calculator.

USERS = torch.tensor([0, 1, 2, 3, 4, 0, 2, 3])
ITEMS = torch.tensor([5, 0, 3, 0, 2, 3, 5, 5])


def hand_tables():
    def table(n, offset):
        row = torch.arange(n, dtype=torch.float64).unsqueeze(1)
        column = torch.arange(4, dtype=torch.float64)
        wave = torch.sin(1 + 0.7 * row + 1.3 * column + offset)
        return (wave + 0.3 * torch.cos(row * column + offset)).requires_grad_()

    return table(5, 0.0), table(6, 0.4), table(6, 1.1), table(6, 2.3)


def close(value, expected):
    assert float(value.detach()) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("leaky_bi", "total", "tuning", "norms", "to_temperature"),
    [
        (False, 17.7390588319, -0.0093586277, (2.08196697, 1.74961387, 5.14066310), -170.41417456),
        (True, 29.0405320230, 0.0037630716, (3.90195340, 1.80006745, 5.35274084), -280.54186369),
    ],
)
def test_hand_item_level(leaky_bi, total, tuning, norms, to_temperature):
    user, *tables = hand_tables()
    ila = ILALoss(4, leaky_bi=leaky_bi).double()
    order = ("image_to_text", "text_to_image", "image_to_id", "id_to_image", "text_to_id")
    with torch.no_grad():
        ila.temperature.fill_(0.1)
        a, b = torch.arange(4.0).double().unsqueeze(1), torch.arange(4.0).double()
        for k, name in enumerate((*order, "id_to_text")):
            ila.maps[name].weight.copy_(0.2 * torch.cos(a + 2 * b + k))
    terms = ila.terms(user, *tables, USERS, ITEMS)
    loss = ila(user, *tables, USERS, ITEMS)
    loss.backward()
    close(loss, total)
    assert float(terms["dt"].detach()) == pytest.approx(tuning, abs=1e-9)
    for table, norm in zip(tables, norms, strict=True):
        close(table.grad.norm(), norm)
    close(ila.temperature.grad, to_temperature)


def test_hand_cluster_level():
    tables = hand_tables()
    cla = CLALoss(K=8, D=4).double()
    p, column = torch.arange(8.0).double().unsqueeze(1), torch.arange(4.0).double()
    with torch.no_grad():
        cla.temperature.fill_(0.3)
        cla.prototypes_user_item.copy_(torch.sin(1.7 * p + 0.9 * column + 0.2))
        cla.prototypes_modalities.copy_(torch.cos(1.1 * p + 1.9 * column + 0.5))
    loss = cla(*tables, USERS, ITEMS)
    loss.backward()
    close(loss, 6.2364956876)
    norms = (0.35917958, 0.53815648, 0.11702493, 0.32820913)
    for table, norm in zip(tables, norms, strict=True):
        close(table.grad.norm(), norm)
    close(cla.temperature.grad, -12.12226913)
    close(cla.prototypes_user_item.grad.norm(), 1.13367499)
    close(cla.prototypes_modalities.grad.norm(), 0.58144414)
    unit = torch.nn.functional.normalize(tables[0].detach()[USERS])
    code = sinkhorn(unit @ cla.prototypes_user_item.detach().T)[0]
    expected = [0.43626575, 0.12720762, 0, 0, 0.43626266, 0.00023952, 0, 0.00002444]
    torch.testing.assert_close(code, torch.tensor(expected).double(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "param_attn"])
def test_hand_neighbor_level(reduction):
    _, *tables = hand_tables()
    friends = (torch.arange(6).unsqueeze(1) + torch.tensor([1, 2, 3])) % 6
    cna = CNALoss(friends, reduction=reduction, reg_weight=1.0).double()
    contrast, reg = cna.terms(*tables, ITEMS).values()
    contrast.backward()
    close(contrast, 4.8691497299)
    close(reg, 3.0765792311)
    for table, norm in zip(tables, (0.68983374, 0.81282672, 0.69639945), strict=True):
        close(table.grad.norm(), norm)
    if reduction == "mean":
        assert cna.rank_weights.grad is None
    else:
        expected = torch.tensor([-1.21032781, 0.51205650, 0.69827131]).double()
        torch.testing.assert_close(cna.rank_weights.grad, expected, rtol=0, atol=1e-7)
