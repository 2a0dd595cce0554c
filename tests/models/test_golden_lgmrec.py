"""LGMRec against the published code's numbers, with its draws recorded."""

from __future__ import annotations

from itertools import cycle

import pytest
import torch
from torch import Tensor

from crossalign.models.lgmrec import LGMRec

PARAMETERS = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_id_embedding.weight",
    "projectors.image.weight": "item_image_trs.T",
    "projectors.text.weight": "item_text_trs.T",
    "hyperedges.image.weight": "v_hyper.T",
    "hyperedges.text.weight": "t_hyper.T",
}
ORDER = ("item_image", "user_image", "item_text", "user_text")


class Replayed(LGMRec):
    """With recorded noise, and recorded entries that dropout keeps."""

    case = None

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.turns = {key: cycle(ORDER) for key in ("train_gumbel", "eval_gumbel", "keep")}

    def drawn(self, logits: Tensor) -> Tensor:
        key = "train_gumbel" if self.training else "eval_gumbel"
        return self.case[f"draw/{key}_{next(self.turns[key])}"]

    def dropped(self, share: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return share
        return share * self.case[f"draw/keep_{next(self.turns['keep'])}"] / (1 - self.dropout)


def replayed(case, **options: object) -> LGMRec:
    hparams = case.hparams
    backbone = case.build(
        Replayed,
        "image",
        "text",
        dim=hparams["embedding_size"],
        n_layers=hparams["n_ui_layers"] if hparams["cf_model"] == "lightgcn" else 0,
        n_content_layers=hparams["n_mm_layers"],
        n_hyper_layers=hparams["n_hyper_layer"],
        n_hyperedges=hparams["hyper_num"],
        dropout=1 - hparams["keep_rate"],
        alpha=hparams["alpha"],
        temperature=hparams["tau"],
        noise="gumbel" if hparams["gumbel_noise"] else "none",
        cl_weight=hparams["cl_weight"],
        reg_weight=hparams["reg_weight"],
        **options,
    )
    backbone.case = case
    case.fill(backbone, PARAMETERS)
    return backbone


@pytest.mark.golden("hosts", "lgmrec")
def test_losses_gradients_tables_and_a_second_step_equal_the_released_code(case) -> None:
    backbone, hparams = replayed(case), case.hparams
    terms = {
        "bpr": ("bpr", 1.0),
        "reg": ("emb_reg", hparams["reg_weight"]),
        "hcl_user": ("hcl_user", hparams["cl_weight"]),
        "hcl_item": ("hcl_item", hparams["cl_weight"]),
    }
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, terms)
    case.check_second_step(backbone, PARAMETERS, terms)


@pytest.mark.golden("hosts", "lgmrec")
def test_all_three_views_equal_the_released_code(case) -> None:
    backbone = replayed(case).eval()
    with torch.no_grad():
        backbone()
        user, item = backbone.propagation(
            backbone.user_embedding, backbone.item_embedding, backbone.n_layers
        )
        content, _ = backbone._read_content()
        sides = (side.flatten(1) for side in content)
        local = backbone.propagation.layers(*sides, backbone.n_content_layers)[-1]
    case.equals(user, "cge_user_repr")
    case.equals(item, "cge_item_repr")
    for place, name in enumerate(("image", "text")):
        case.equals(content.item[:, place], f"content_item_{name}")
        for side, table in zip(("user", "item"), local, strict=True):
            width = backbone.representation_dim
            case.equals(table[:, place * width : (place + 1) * width], f"mge_{side}_{name}_repr")
        case.equals(backbone.views[name].user, f"hyper_user_{name}_repr")
        case.equals(backbone.views[name].item, f"hyper_item_{name}_repr")


@pytest.mark.golden("hosts", "lgmrec")
def test_noise_in_evaluation_is_there_when_it_is_asked_for(case) -> None:
    """The released code always has it; two evaluations without it are equal."""
    if "scores_eval_noise" not in case:
        pytest.skip("no noise was recorded")
    backbone = replayed(case, eval_noise=True).eval()
    with torch.no_grad():
        user, item = backbone()
    case.equals(user @ item.T, "scores_eval_noise")
