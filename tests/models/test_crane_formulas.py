"""CRANE's representations, losses and gradients against formulas written in loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions
from crossalign.models import Batch
from crossalign.models.crane import CRANE

N_USERS, N_ITEMS, DIM, K = 9, 11, 4, 3
LACKS_ALL, IDLE = 4, 8
BATCH = Batch(
    users=torch.tensor([0, 3, 0, 5]),
    items=torch.tensor([1, 1, 2, 7]),
    negatives=torch.tensor([9, 4, 6, 6]),
)


def tiny(names: tuple[str, ...]) -> Dataset:
    """User 8 has no training item, item 4 no modality, another item lacks one."""
    rng = torch.Generator().manual_seed(1)
    liked = torch.rand(N_USERS, N_ITEMS, generator=rng) < 0.4
    held_out = torch.nonzero(~liked).T[:, :5]
    liked[IDLE] = False
    features, missing = {}, {}
    for width, name in enumerate(names, start=5):
        table = torch.randn(N_ITEMS, width, generator=rng)
        table[[LACKS_ALL, width]] = 0
        features[name], missing[name] = table, ~table.any(dim=1)
    train = torch.nonzero(liked).T.contiguous()
    return Dataset("tiny", N_USERS, N_ITEMS, train, held_out, held_out, features, missing=missing)


@pytest.fixture
def make(build):
    """`make(data, **options)`: in float64, with random numbers for all parameters."""

    def make(data: Dataset, **options: object) -> CRANE:
        chosen = {"dim": DIM, "n_neighbors": K, "warm_epochs": 0} | options
        backbone = build(CRANE, data, GraphOptions(knn_k=K), **chosen)
        rng = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.normal_(0, 0.4, generator=rng)
        return backbone

    return make


class Reference:
    """CRANE's formulas for one item, user, feature or pair at a time."""

    def __init__(self, backbone: CRANE, data: Dataset, edges: Tensor, **options: object) -> None:
        self.p = dict(backbone.named_parameters())
        self.data, self.edges = data, [tuple(edge) for edge in edges.T.tolist()]
        self.n_recursions = options.get("n_recursions", 2)
        self.tied = options.get("tied_rounds", True)
        self.rca, self.scale = options.get("rca", "global"), options.get("scale", "sqrt_n")
        self.profile_kind = options.get("user_profile", "mean")
        self.profile_edges = options.get("profile_edges", "all")
        self.own = options.get("user_attention", "item") == "own"
        self.n_item_layers = options.get("n_item_layers", 1)
        self.item_input = options.get("item_input", "content")
        self.unit_content = options.get("unit_content", False)
        self.include_self = options.get("include_self", True)

    def contents(self) -> list[Tensor]:
        tables = []
        for name, features in self.data.features.items():
            weight, bias = (self.p[f"projectors.{name}.{kind}"] for kind in ("weight", "bias"))
            table = torch.zeros(N_ITEMS, DIM, dtype=torch.float64)
            for item, row in enumerate(features.double()):
                if row.abs().sum() > 0:
                    vector = weight @ row + bias
                    table[item] = vector / vector.dot(vector).sqrt()
            tables.append(table)
        return tables

    def profiles(self, tables: list[Tensor]) -> list[Tensor]:
        pairs = [tuple(pair) for pair in self.data.train.T.tolist()]
        pairs = self.edges if self.profile_edges == "kept" else pairs
        degree = {item: sum(i == item for _, i in pairs) for item in range(N_ITEMS)}
        result = []
        for table in tables:
            rows = []
            for user in range(N_USERS):
                mine = [item for u, item in pairs if u == user]
                total = torch.zeros(DIM, dtype=torch.float64)
                for item in mine:
                    symmetric = 1 / math.sqrt(len(mine) * degree[item])
                    share = 1 / len(mine) if self.profile_kind == "mean" else symmetric
                    total = total + share * table[item]
                rows.append(total)
            result.append(torch.stack(rows))
        return result

    def correlation(self, prefix: str, table: Tensor, joint: list[Tensor]) -> Tensor | list[Tensor]:
        weight = self.p[f"{prefix}.correlate.weight"]
        if self.rca == "token":
            dots = [(weight @ x).dot(j) for x, j in zip(table, joint, strict=True)]
            return [(dot / math.sqrt(DIM)).tanh() for dot in dots]
        total = torch.zeros(DIM, DIM, dtype=torch.float64)
        for x, j in zip(table, joint, strict=True):
            total = total + torch.outer(weight @ x, j)
        scale = 1 / math.sqrt(len(table))
        if self.scale == "n":
            scale = self.p[f"{prefix}.log_gain"].exp() / len(table)
        return (total * scale / math.sqrt(DIM)).tanh()

    def attend(self, tables: list[Tensor], given: list | None = None) -> tuple[Tensor, list]:
        found = []
        for step in range(self.n_recursions):
            base = f"attention.rounds.{0 if self.tied else step}"
            weight, bias = self.p[f"{base}.joint.weight"], self.p[f"{base}.joint.bias"]
            joint = [weight @ torch.cat(rows) + bias for rows in zip(*tables, strict=True)]
            after, used = [], []
            for m, table in enumerate(tables):
                prefix = f"{base}.updates.{m}"
                own, attend, out = (
                    self.p[f"{prefix}.{w}.weight"] for w in ("own", "attend", "out")
                )
                found_here = self.correlation(prefix, table, joint)
                c = found_here if given is None else given[step][m]
                rows = []
                for i, (x, j) in enumerate(zip(table, joint, strict=True)):
                    seen = c[i] * j if self.rca == "token" else c @ j
                    rows.append(x + out @ (own @ x + attend @ seen).clamp(min=0))
                after.append(torch.stack(rows))
                used.append(c)
            tables = after
            found.append(used)
        fusion = self.p["attention.fusion.weight"]
        return torch.stack([fusion @ torch.cat(rows) for rows in zip(*tables, strict=True)]), found

    def neighbors(self, content: Tensor) -> list[list[int]]:
        """Nearest items of each by cosine; items without any content have none."""
        there = [
            any(bool(table[item].abs().sum() > 0) for table in self.data.features.values())
            for item in range(N_ITEMS)
        ]
        lists = []
        for i in range(N_ITEMS):
            others = [j for j in range(N_ITEMS) if there[j] and (self.include_self or j != i)]
            cosine = {
                j: float(content[i].dot(content[j]) / content[i].norm() / content[j].norm())
                for j in others
            }
            lists.append(sorted(others, key=lambda j: -cosine[j])[:K] if there[i] else [])
        return lists

    def lightgcn(self) -> tuple[Tensor, Tensor]:
        user, item = self.p["user_embedding"], self.p["item_embedding"]
        user_degree = [sum(u == x for x, _ in self.edges) for u in range(N_USERS)]
        item_degree = [sum(i == x for _, x in self.edges) for i in range(N_ITEMS)]
        total_user, total_item = user, item
        for _ in range(2):
            next_user, next_item = torch.zeros_like(user), torch.zeros_like(item)
            for u, i in self.edges:
                weight = 1 / math.sqrt((user_degree[u] + 1e-7) * (item_degree[i] + 1e-7))
                next_user[u] = next_user[u] + weight * item[i]
                next_item[i] = next_item[i] + weight * user[u]
            user, item = next_user, next_item
            total_user, total_item = total_user + user, total_item + item
        return total_user / 3, total_item / 3

    def __call__(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """`u_g`, `i_g`, `F_u` and `h`."""
        tables = self.contents()
        behaviour_user, behaviour_item = self.lightgcn()
        semantic, correlations = self.attend(tables)
        lists = self.neighbors(semantic.detach())
        semantic = semantic if self.item_input == "content" else behaviour_item
        for _ in range(self.n_item_layers):
            rows = [torch.zeros(DIM, dtype=torch.float64) + semantic[j].sum(0) / K for j in lists]
            semantic = torch.stack(rows)
        content = None
        if self.profile_kind != "none":
            shared = None if self.own or self.rca == "token" else correlations
            content, _ = self.attend(self.profiles(tables), shared)
            content = self.scaled(content)
        return behaviour_user, behaviour_item, content, self.scaled(semantic)

    def scaled(self, table: Tensor) -> Tensor:
        if not self.unit_content:
            return table
        return torch.stack([row / row.dot(row).sqrt() if row.any() else row for row in table])

    def losses(self, tau: float, cl: float, reg: float) -> dict[str, Tensor]:
        behaviour_user, behaviour_item, content, semantic = self()
        user = behaviour_user if content is None else behaviour_user + content
        item = behaviour_item + semantic
        triples = list(zip(*(ids.tolist() for ids in BATCH), strict=True))
        bpr, squares = 0, 0
        for u, i, j in triples:
            bpr = bpr - (user[u].dot(item[i]) - user[u].dot(item[j])).sigmoid().log()
            for table, row in (("user", u), ("item", i), ("item", j)):
                squares = squares + self.p[f"{table}_embedding"][row].square().sum()
        pairs = {"cl_item": (BATCH.items, behaviour_item, semantic)}
        if content is not None:
            pairs["cl_user"] = (BATCH.users, behaviour_user, content)
        terms = {"bpr": bpr / len(triples), "reg": reg * squares / len(triples)}
        for name, (ids, one, other) in pairs.items():
            distinct, total = sorted(set(ids.tolist())), 0
            for a, b in ((one, other), (other, one)):
                for i in distinct:
                    logits = [a[i].dot(b[j]) / a[i].norm() / b[j].norm() / tau for j in distinct]
                    total = total + torch.stack(logits).logsumexp(0) - logits[distinct.index(i)]
            terms[name] = cl * total / len(distinct) / 2 / len(pairs)
        return terms


VARIANTS = [
    {},
    {"n_recursions": 0},
    {"n_recursions": 3, "tied_rounds": False, "scale": "n"},
    {"rca": "token", "n_item_layers": 2},
    {"rca": "token", "n_recursions": 3, "tied_rounds": False, "user_attention": "own"},
    {"user_attention": "own", "scale": "n", "include_self": False},
    {"user_profile": "symmetric", "n_item_layers": 0},
    {"user_profile": "none"},
    {"profile_edges": "kept"},
    {"profile_edges": "kept", "user_profile": "symmetric"},
    {"item_input": "behaviour"},
    {"item_input": "behaviour", "unit_content": True, "n_item_layers": 2},
    {"unit_content": True, "user_profile": "symmetric"},
]


@pytest.mark.parametrize(
    ("options", "names"),
    [*((options, ("image", "text", "audio")) for options in VARIANTS), ({}, ("sound",))],
)
def test_representations_losses_and_gradients_equal_the_formulas(options, names, make) -> None:
    data = tiny(names)
    weights = {"cl_weight": 0.3, "reg_weight": 0.2, "temperature": 0.15}
    backbone = make(data, dropout=0.5, **weights, **options)
    backbone.begin_epoch(torch.Generator())
    kept = torch.stack(backbone.propagation.kept)
    assert kept.shape[1] == data.train.shape[1] // 2
    reference = Reference(backbone, data, kept, **options)
    ours, theirs = backbone.loss(BATCH, backbone()), reference.losses(0.15, cl=0.3, reg=0.2)
    assert set(ours) == set(theirs)
    results = []
    for terms in (ours, theirs):
        gradients = torch.autograd.grad(sum(terms.values()), list(backbone.parameters()))
        results.append([*(terms[name] for name in sorted(terms)), *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)

    backbone.eval()
    behaviour_user, behaviour_item, content, semantic = Reference(
        backbone, data, data.train, **options
    )()
    user, item = backbone()
    expected = behaviour_user if content is None else behaviour_user + content
    torch.testing.assert_close(user, expected, rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(item, behaviour_item + semantic, rtol=1e-8, atol=1e-11)
