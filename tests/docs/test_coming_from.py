"""Each section of `docs/coming-from.md` runs beside a small stand-in of the program it is about."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import published_losses
import pytest
import torch
from torch import Tensor, nn

from crossalign.align import CLALoss, CNALoss, ILALoss
from crossalign.cli import main

N_USERS, N_ITEMS, N_PAIRS, DIM = 30, 20, 90, 64


def stand_in(monkeypatch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> None:
    """Make modules importable; `a__b` is `a.b`."""
    for name, contents in modules.items():
        parts = name.split("__")
        for end in range(1, len(parts) + 1):
            dotted = ".".join(parts[:end])
            if dotted not in sys.modules:
                monkeypatch.setitem(sys.modules, dotted, ModuleType(dotted))
        vars(sys.modules[".".join(parts)]).update(contents)


def lowers_its_loss(model: nn.Module, batch: Any) -> bool:
    """Whether steps over the model's own parameters, as trainers take them, do something."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(model.calculate_loss(batch))
        losses[-1].backward()
        optimizer.step()
    return bool(losses[-1] < losses[0])


def pairs() -> Tensor:
    """`(2, n)` distinct pairs, every user and item among them."""
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([torch.randint(n, (N_PAIRS,), generator=rng) for n in (N_USERS, N_ITEMS)])
    every = torch.stack([torch.arange(N_USERS), torch.arange(N_USERS) % N_ITEMS])
    return torch.cat([drawn, every], dim=1).unique(dim=1)


class PublishedILA(nn.Module):
    """State and call of the published class."""

    def __init__(self, dim: int = 64, gamma: float = 0.007, leaky_bi: bool = False) -> None:
        super().__init__()
        self.temp = nn.Parameter(gamma * torch.ones([]))
        self.leaky_bi = leaky_bi
        for name in ("i2t", "t2i", "i2d", "d2i", "t2d", "d2t"):
            setattr(self, f"{name}_map", nn.Linear(dim, dim, bias=False))

    def forward(
        self,
        user: Tensor,
        item: Tensor,
        image: Tensor,
        text: Tensor,
        users: Tensor,
        items: Tensor,
        epoch_idx: int | None = None,
    ) -> Tensor:
        views = {"i": "image", "t": "text", "d": "id"}
        maps = {(views[n[0]], views[n[2]]): m.weight for n, m in self.named_children()}
        tables = {"id": item, "image": image, "text": text}
        how = (maps, self.temp, users, items, self.leaky_bi)
        return sum(published_losses.ila_dt(user, tables, *how))


class PublishedCLA(nn.Module):
    """State and call of the published class."""

    def __init__(self, K: int, D: int, gamma: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma * torch.ones([]))
        self.feat2code = nn.Linear(D, K, bias=False)
        self.ii2code = nn.Linear(D, K, bias=False)

    def forward(self, user: Tensor, *given: Tensor) -> Tensor:
        *tables, users, items = given
        named = dict(zip(("id", "image", "text"), tables, strict=True))
        books = (nn.functional.normalize(m.weight) for m in (self.feat2code, self.ii2code))
        return sum(published_losses.cla(user, named, *books, self.gamma, users, items))


class PublishedCNA(nn.Module):
    """State and call of the published class, which returns two numbers."""

    def __init__(self, friends: Tensor, reduction: str = "mean") -> None:
        super().__init__()
        self.item_best_friends = friends
        self.weight = nn.Parameter(torch.ones(friends.shape[1]), reduction == "param_attn")

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        *tables, items = given
        named = dict(zip(("id", "image", "text"), tables, strict=True))
        return published_losses.cna(
            named, self.item_best_friends, self.weight.softmax(0), 0.2, items
        )


@pytest.fixture
def fettle(run_page: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run_page("coming-from", "From the FETTLE repository")


def fettle_call(dim: int) -> tuple[Tensor, ...]:
    tables = (torch.randn(n, dim) for n in (N_USERS, N_ITEMS, N_ITEMS, N_ITEMS))
    return (*tables, *pairs())


@pytest.mark.parametrize("leaky_bi", [False, True])
def test_published_weights_give_the_published_numbers(
    fettle: dict[str, Any], leaky_bi: bool
) -> None:
    """The names of the page carry all state over, and both then compute the same."""
    torch.manual_seed(0)
    call = fettle_call(8)
    friends = torch.randint(N_ITEMS, (N_ITEMS, 3))
    ila, published = ILALoss(8, leaky_bi=leaky_bi), PublishedILA(8, 0.1, leaky_bi)
    fettle["load_published"](ila, published.state_dict())
    torch.testing.assert_close(ila(*call), published(*call, epoch_idx=3), rtol=1e-4, atol=1e-4)

    cla, published_cla = CLALoss(6, 8), PublishedCLA(6, 8, 0.3)
    fettle["load_published"](cla, published_cla.state_dict())
    torch.testing.assert_close(cla(*call), published_cla(*call), rtol=1e-4, atol=1e-4)

    of_items = (*call[1:4], call[5])
    cna, published_cna = CNALoss(friends, reg_weight=0.5), PublishedCNA(friends)
    fettle["load_published"](cna, published_cna.state_dict())
    contrast, regulariser = published_cna(*of_items)
    torch.testing.assert_close(cna(*of_items), contrast + 0.5 * regulariser)
    terms = cna.terms(*of_items)
    assert list(terms) == ["cna", "cna_reg"]


def test_the_defaults_that_differ_are_those_of_the_page() -> None:
    assert PublishedILA().temp.item() == pytest.approx(0.007)
    assert ILALoss().temperature.item() == pytest.approx(0.1)
    bound = (6 / (64 + 64)) ** 0.5
    widest = max(m.weight.abs().max().item() for m in ILALoss().maps.values())
    assert 0.95 * bound < widest <= bound, "maps start Xavier-uniform"
    torch_default = PublishedILA().i2t_map.weight.abs().max().item()
    assert torch_default <= (1 / 64) ** 0.5 < 0.95 * bound


def test_the_model_of_the_fettle_section_trains(fettle: dict[str, Any]) -> None:
    """With neighbours as their file holds them."""
    model = fettle["YourModel"](torch.randint(N_ITEMS, (N_ITEMS, 5)))
    tables = [table.requires_grad_() for table in fettle_call(DIM)[:4]]
    model.calculate_loss(*tables, *pairs()).backward()
    assert all(table.grad.any() for table in tables)


def test_epoch_idx_is_no_argument(fettle: dict[str, Any]) -> None:
    """As the page says; it is not taken for a table."""
    with pytest.raises(TypeError, match="epoch_idx"):
        ILALoss(8)(*fettle_call(8), epoch_idx=1)


@pytest.fixture
def mmrec_data(tmp_path: Path) -> Path:
    """A folder as MMRec has it."""
    folder = tmp_path / "data" / "baby"
    folder.mkdir(parents=True)
    rows = [f"{u}\t{i}\t{0 if n % 5 else 1 + n % 2}" for n, (u, i) in enumerate(pairs().T.tolist())]
    (folder / "baby.inter").write_text("\n".join(["userID\titemID\tx_label", *rows]) + "\n")
    for name, width in (("image", 7), ("text", 5)):
        np.save(folder / f"{name}_feat.npy", np.random.default_rng(0).normal(size=(N_ITEMS, width)))
    return folder


class MMRecRecommender(nn.Module):
    """What MMRec's base class of recommenders offers."""

    def __init__(self, config: dict[str, Any], dataloader: Any) -> None:
        super().__init__()
        self.n_users = dataloader.dataset.get_user_num()
        self.n_items = dataloader.dataset.get_item_num()
        path = Path(config["data_path"]) / config["dataset"]
        self.v_feat, self.t_feat = (
            torch.from_numpy(np.load(path / config[file])).float()
            for file in ("vision_feature_file", "text_feature_file")
        )


def test_mmrec(
    mmrec_data: Path,
    run_page: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command writes neighbours in MMRec's numbers, and the model of the page trains."""
    file = mmrec_data / "neighbors.npz"
    assert main(["neighbors", str(mmrec_data), "-k", "5", "-o", str(file)]) == 0, (
        capsys.readouterr()
    )
    stand_in(monkeypatch, common__abstract_recommender={"GeneralRecommender": MMRecRecommender})
    config = {
        "data_path": str(mmrec_data.parent),
        "dataset": "baby",
        "vision_feature_file": "image_feat.npy",
        "text_feature_file": "text_feat.npy",
        "neighbors_file": str(file),
    }
    dataset = SimpleNamespace(get_user_num=lambda: N_USERS, get_item_num=lambda: N_ITEMS)
    made = run_page("coming-from", "From MMRec")["AlignedBPR"]
    model = made(config, SimpleNamespace(dataset=dataset))
    users, items = pairs()
    train = torch.arange(len(users)) % 5 > 0
    takers = [set(users[train & (items == i)].tolist()) for i in range(N_ITEMS)]
    best = [int(near[0]) for near in model.align.cna.neighbors]
    for item, near in enumerate(best):
        common = [len(takers[item] & takers[j]) * (j != item) for j in range(N_ITEMS)]
        assert max(common) == 0 or common[near] == max(common)
    batch = torch.stack([users, items, items.flip(0)])
    assert lowers_its_loss(model, batch)


class InputType(enum.Enum):
    """RecBole's kinds of batches."""

    POINTWISE = 1
    PAIRWISE = 2


class RecBoleRecommender(nn.Module):
    """What RecBole's base class of general recommenders offers."""

    def __init__(self, config: dict[str, Any], dataset: RecBoleDataset) -> None:
        super().__init__()
        self.USER_ID = config["USER_ID_FIELD"]
        self.ITEM_ID = config["ITEM_ID_FIELD"]
        self.NEG_ITEM_ID = config["NEG_PREFIX"] + self.ITEM_ID
        self.n_users = dataset.num(self.USER_ID)
        self.n_items = dataset.num(self.ITEM_ID)


class RecBoleDataset:
    """RecBole's numbers: tokens in the order in which they come, from 1; 0 is `[PAD]`."""

    def __init__(self, **columns: list[str]) -> None:
        self.tokens = {f: np.array(["[PAD]", *dict.fromkeys(c)]) for f, c in columns.items()}
        numbers = {f: {t: n for n, t in enumerate(tokens)} for f, tokens in self.tokens.items()}
        self.inter_feat = {
            f: torch.tensor([numbers[f][t] for t in column]) for f, column in columns.items()
        }

    def num(self, field: str) -> int:
        return len(self.tokens[field])

    def id2token(self, field: str, ids: np.ndarray) -> np.ndarray:
        return self.tokens[field][ids]


def test_recbole(
    run_page: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Content stands at RecBole's numbers, neighbours are of its pairs, padding stays alone."""
    stand_in(
        monkeypatch,
        recbole__model__abstract_recommender={"GeneralRecommender": RecBoleRecommender},
        recbole__utils={"InputType": InputType},
    )
    users, items = pairs()[:, torch.randperm(len(pairs()[0]))]
    tokens = {"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in items]}
    for column in tokens.values():
        column.append(column[0])  # a pair that comes twice
    dataset = RecBoleDataset(**tokens)
    known = np.array([f"i{i}" for i in range(N_ITEMS - 3)])  # three items have no image
    features = np.random.default_rng(0).normal(size=(len(known), 6))
    np.savez(tmp_path / "image.npz", ids=known, features=features)
    config = {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "NEG_PREFIX": "neg_",
        "image_file": str(tmp_path / "image.npz"),
    }
    model = run_page("coming-from", "From RecBole")["AlignedBPR"](config, dataset)

    missing = model.align.missing_image
    for number, token in enumerate(dataset.tokens["item_id"]):
        where = np.flatnonzero(known == token)
        assert bool(missing[number]) == (not len(where))
        if len(where):
            row = torch.from_numpy(features[where[0]]).float()
            torch.testing.assert_close(model.image[number], row)
    assert missing.sum() == 4, "three items and padding"

    near = model.align.cna.neighbors
    assert near[0].eq(0).all()
    assert near[1:].gt(0).all()
    padding = model.item_embedding.weight[0].detach().clone()
    batch = {**dataset.inter_feat, "neg_item_id": dataset.inter_feat["item_id"].flip(0)}
    assert lowers_its_loss(model, batch)
    torch.testing.assert_close(model.item_embedding.weight[0], padding)
