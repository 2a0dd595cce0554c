"""The feedback scores that item-level alignment tells of every step."""

from __future__ import annotations

import torch

from crossalign.align.batch import Batch
from crossalign.align.feedback import feedback_scores
from crossalign.align.item import ILALoss
from crossalign.tensors.tables import Tables


def test_scores_are_those_of_the_items_that_have_the_modality() -> None:
    torch.manual_seed(0)
    user, item, text = (torch.randn(n, 4, dtype=torch.float64) for n in (3, 6, 6))
    users, items = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 1, 2, 3, 3])
    missing = torch.tensor([False, True, False, False, False, False])
    ila = ILALoss(4, modalities=("text",)).double()
    ila.terms(user, item, text, users, items, missing=[missing])
    shown = ila.diagnostics()

    batch = Batch(Tables(user, item, {"text": text}), {"text": missing}, users, items)
    of_id, of_text = feedback_scores(batch.mean_user, batch.views)
    for name, scores in (("id", of_id), ("text", of_text[[0, 2, 3]])):
        torch.testing.assert_close(shown[f"score/{name}"], scores.mean())
        torch.testing.assert_close(shown[f"score_variance/{name}"], scores.var())
        assert not shown[f"score/{name}"].requires_grad
