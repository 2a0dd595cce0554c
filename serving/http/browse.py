"""Looking around in an export: users, items, histories."""

from __future__ import annotations

from itertools import islice

from .answers import Found, History
from .lists import item_answer
from .shop import Shop

MOST_FOUND = 20
MOST_OF_HISTORY = 500


def find_users(shop: Shop, search: str) -> Found:
    """The first users whose id begins with `search`."""
    names = (name for name in shop.users.names if name.startswith(search))
    return Found(users=list(islice(names, MOST_FOUND)))


def find_items(shop: Shop, search: str) -> Found:
    """The first items whose id begins with `search`, or whose title has all its words."""
    titles, words = shop.catalogue.titles, search.casefold().split()

    def fits(name: str) -> bool:
        title = titles.get(name, "").casefold()
        return name.startswith(search) or (bool(title) and all(word in title for word in words))

    rows = (row for row, name in enumerate(shop.items.names) if fits(name))
    return Found(items=[item_answer(shop, row) for row in islice(rows, MOST_FOUND)])


def history(shop: Shop, user: str) -> History:
    """What a user has; the first few of a long history."""
    rows = shop.history(shop.users.row(user))
    items = [item_answer(shop, row) for row in rows[:MOST_OF_HISTORY].tolist()]
    return History(user=user, items=items, total=len(rows))
