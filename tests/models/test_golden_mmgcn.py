"""MMGCN against the published code's numbers."""

from __future__ import annotations

import pytest
import torch

from crossalign.models.mmgcn import MMGCN


def parameters(n_layers: int) -> dict[str | tuple[str, ...], str]:
    """Our name -> published name."""
    names: dict[str | tuple[str, ...], str] = {
        ("user_embedding", "item_embedding"): "id_embedding",
        "branches.image.input.weight": "v_gcn.MLP.weight",
        "branches.image.input.bias": "v_gcn.MLP.bias",
    }
    for modality, theirs in {"image": "v_gcn", "text": "t_gcn"}.items():
        names[f"preferences.{modality}"] = f"{theirs}.preference"
        for place in range(n_layers):
            layer = f"branches.{modality}.layers.{place}"
            names[f"{layer}.convolution.weight"] = f"{theirs}.conv_embed_{place + 1}.weight.T"
            for kind in ("weight", "bias"):
                names[f"{layer}.own.{kind}"] = f"{theirs}.linear_layer{place + 1}.{kind}"
                names[f"{layer}.mix.{kind}"] = f"{theirs}.g_layer{place + 1}.{kind}"
    return names


def filled(case, **options: object) -> MMGCN:
    hparams = case.hparams
    backbone = case.build(
        MMGCN,
        "image",
        "text",
        dim=hparams["embedding_size"],
        n_layers=hparams["gcn_layers"],
        latent_dims={"image": hparams["dim_latent"]},
        combine=hparams["combine"],
        reg_weight=hparams["reg_weight"],
        reg_modalities=["image"],
        aligned_content="branches",
        **options,
    )
    case.fill(backbone, parameters(hparams["gcn_layers"]))
    return backbone


@pytest.mark.golden("hosts", "mmgcn")
def test_losses_gradients_tables_and_a_second_step_equal_the_released_code(case) -> None:
    """Where the released tables are outside the optimiser, their gradients are recorded anyway."""
    backbone, hparams = filled(case), case.hparams
    names, weight = parameters(hparams["gcn_layers"]), hparams["reg_weight"]
    terms = {
        "bpr": ("bpr", 1.0),
        "id_reg": ("id_reg", weight),
        "preference_image": ("preference_image_reg", weight),
    }
    case.check_representations(backbone)
    case.check_step(backbone, names, terms)
    case.check_second_step(backbone, names, terms)


@pytest.mark.golden("hosts", "mmgcn")
def test_branches_equal_the_released_code_and_are_what_an_alignment_may_read(case) -> None:
    backbone = filled(case).eval()
    with torch.no_grad():
        _, item = backbone()
    branches = backbone.modalities()
    torch.testing.assert_close(item, torch.stack([*branches.values()]).mean(0))
    for name, table in branches.items():
        case.equals(table, f"item_{name}_repr")


@pytest.mark.golden("hosts", "mmgcn")
def test_tables_can_be_left_at_their_random_start(case) -> None:
    """As the released code leaves them; the rest learns as there."""
    if not case.hparams["tables_not_in_the_optimiser"]:
        pytest.skip("recorded with all tables in the optimiser")
    backbone = filled(case, trainable_tables=False)
    tables = {n for n, p in backbone.named_parameters() if not p.requires_grad}
    assert tables == {
        "user_embedding",
        "item_embedding",
        "preferences.image",
        "preferences.text",
    }
    torch.stack(list(backbone.loss(case.batch, backbone()).values())).sum().backward()
    learning = [p for p in backbone.parameters() if p.requires_grad]
    torch.optim.Adam(learning, lr=case.hparams["second_step"]["lr"]).step()
    with torch.no_grad():
        user, item = backbone.eval()()
    case.equals_after_step(user @ item.T, "second/scores")
