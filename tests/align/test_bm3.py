"""BM3 as an alignment: the published terms, a loop over the pairs, and what may move."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from crossalign.align import ALIGNERS
from crossalign.align.bm3 import BM3Alignment
from crossalign.tensors.functional import unit_rows


def build(p, **options):
    return BM3Alignment(4, p.names, **options).to(p.item.dtype)


def arguments(p):
    return p.user, p.item, dict(zip(p.names, p.content, strict=True)), p.users, p.items


@pytest.mark.golden("backbones", "bm3")
def test_equals_the_published_content_terms(case, monkeypatch):
    cl_weight, rate = case.hparams["cl_weight"], case.hparams["dropout"]
    aligner = BM3Alignment(case.hparams["embedding_size"], weight=cl_weight, dropout=0.0).double()
    content = {}
    with torch.no_grad():
        aligner.predictor.weight.copy_(case["param/predictor.weight"])
        aligner.predictor.bias.copy_(case["param/predictor.bias"])
    for m in ("image", "text"):
        weight, bias = (case[f"param/{m}_trs.{kind}"].double() for kind in ("weight", "bias"))
        table = case[f"param/{m}_embedding.weight"].double() @ weight.T + bias
        content[m] = table.requires_grad_()

    def recorded(table, rows, ids):
        keep = case["draw/dropout_keep_" + ("item" if table == "id" else table)]
        return unit_rows(rows.detach() * keep[ids] / (1 - rate))

    if rate > 0:
        monkeypatch.setattr(aligner, "target", recorded)
    users, items = case["batch_users"], case["batch_pos"]
    terms = aligner.terms(case["user_repr"], case["item_repr"], content, users, items)
    published = ("image_item", "image_image", "text_item", "text_text")
    for term, value in zip(published, terms.values(), strict=True):
        case.equals(value, f"loss/{term}", cl_weight)
    sum(terms.values()).backward()
    for m, table in content.items():  # the bias of a projector collects its table's gradient
        case.equals(table.grad.sum(0), f"grad/{m}_trs.bias")


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_content", [1, 3])
def test_equals_a_loop_over_the_pairs(problem, same, n_content, missing, symmetric):
    p = problem(n_content, missing=missing)
    aligner = build(p, weight=0.3, dropout=0.0, symmetric=symmetric, missing=p.missing)
    total = torch.zeros((), dtype=torch.float64)
    for name, table in zip(p.names, p.content, strict=True):
        items = [i for i in p.items.tolist() if not (missing and p.missing[name][i])]
        for i in items:
            pairs = [(table, p.item), (table, table)] + [(p.item, table)] * symmetric
            for online, target in pairs:
                cosine = cosine_similarity(aligner.predictor(online[i]), target[i].detach(), dim=0)
                total = total + 0.3 * (1 - cosine) / len(items)
    tensors = [p.user, p.item, *p.content, *aligner.parameters()]
    same(aligner(*arguments(p)), total, tensors)


def test_the_item_representation_moves_only_if_symmetric(problem):
    p = problem(2)
    for symmetric in (False, True):
        loss = build(p, symmetric=symmetric)(*arguments(p))
        user, item = torch.autograd.grad(loss, [p.user, p.item], allow_unused=True)
        assert user is None
        assert (item is not None) == symmetric


def test_missing_everywhere_is_zero(problem):
    p = problem(2)
    gone = {"text": torch.ones(11, dtype=torch.bool)}
    terms = build(p, missing=gone).terms(*arguments(p))
    assert terms["text_item"].item() == terms["text_text"].item() == 0
    assert terms["image_item"].item() > 0


def test_dropout_is_for_training_and_follows_the_seed(problem):
    p = problem(2)
    aligner, draws = build(p, dropout=0.5), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(aligner(*arguments(p)).item())
    assert draws[0] == draws[1] != draws[2]
    aligner.eval()
    without = build(p, dropout=0.0)
    without.load_state_dict(aligner.state_dict())
    torch.testing.assert_close(aligner(*arguments(p)), without(*arguments(p)))


def test_own_projectors_and_options():
    features = {"image": torch.randn(11, 9), "text": torch.randn(11, 5)}
    aligner = BM3Alignment(4, feature_dims={"image": 9, "text": 5})
    ids = torch.tensor([1, 2, 2])
    aligner(torch.randn(7, 4), torch.randn(11, 4), features, ids, ids).backward()
    assert all(parameter.grad is not None for parameter in aligner.parameters())
    options = ALIGNERS["bm3"].options()
    assert set(options) == {"weight", "dropout", "symmetric"}
    assert all(option.help for option in options.values())
