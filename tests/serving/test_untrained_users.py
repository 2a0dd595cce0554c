"""Nobody is served by a vector that nothing has shaped."""

from __future__ import annotations

import torch

from crossalign.datasets import Dataset
from crossalign.serving.export import _place_untrained


def test_users_who_never_trained_get_what_they_like_or_what_all_like() -> None:
    """User 2 likes item 1, which no split holds; user 3 has nothing but a low rating."""
    data = Dataset(
        name="four users",
        n_users=4,
        n_items=3,
        train=torch.tensor([[0, 1], [0, 2]]),
        valid=torch.empty(2, 0, dtype=torch.int64),
        test=torch.empty(2, 0, dtype=torch.int64),
        also_seen=torch.tensor([[2], [1]]),
        rated_low=torch.tensor([[3], [0]]),
    )
    user, item = torch.randn(4, 5), torch.randn(3, 5)
    before = user.clone()
    _place_untrained(user, item, data)
    assert torch.equal(user[:2], before[:2])
    assert torch.equal(user[2], item[1])
    torch.testing.assert_close(user[3], before[:2].mean(dim=0))
