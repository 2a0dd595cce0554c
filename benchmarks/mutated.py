"""Requests that are nearly right: good ones with something changed, cut off, or blown up."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from http_client import request

VALUES: list[Any] = [
    None, True, -1, 0, 1, 10**6, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", "0", "me",
    "x" * 5000, "../../etc/passwd", "\ud800", "\x00", "💥", "' OR 1=1 --", "<script>", [], {}, [[]],
    [None], {"a": 1}, ["0"] * 20_000, [["0"]] * 300,
]  # fmt: skip
PATHS = [
    "/lists/users/", "/Lists/Users", "//lists/users", "/lists", "/../about.json", "/users.csv",
    "/picture?item=../../etc/passwd", "/picture?item=%2e%2e%2f", "/picture?item=%00", "/picture",
    "/history?user=", "/history?user=%ff%fe", "/history?user=0&user=1", "/metrics?name[]=x",
    "/items?search=" + "a" * 3000, "/users?search=%F0%9F%92%A5", "/openapi.json", "/docs",
    "/%2e%2e/%2e%2e/etc/passwd",
]  # fmt: skip
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("/lists/users", {"users": ["0", "1"], "k": 5, "only": ["0", "1", "2"], "without": ["1"]}),
    ("/lists/users", {"users": ["2"]}),
    ("/lists/histories", {"histories": [["0", "1"], ["2"]], "k": 3}),
    ("/similar", {"items": ["0", "3"], "k": 4, "without": ["1"]}),
    ("/why", {"item": "1", "user": "0", "n": 2}),
    ("/why", {"item": "1", "history": ["0", "2"]}),
]


def mutated_requests(n: int, widths: dict[str, int], seed: int = 0) -> Iterator[bytes]:
    """`n` requests for an export whose users and items are called 0, 1, 2, ….

    Args:
        n: how many.
        widths: modality -> number of its features, as `/about` says.
        seed: of what is drawn.
    """
    rng = random.Random(seed)
    good = list(GOOD)
    if widths:
        content = {name: [0.1] * width for name, width in widths.items()}
        good.append(("/new", {"items": [{"features": content}], "users": ["0"], "k": 2}))
        name = next(iter(widths))
        good.append(("/new", {"items": [{"texts": {name: "red shoes"}}]}))
        good.append(("/new", {"items": [{"files": {name: "iVBORw0KGgo="}}]}))
    for _ in range(n):
        yield rng.choice(MUTATIONS)(rng, *rng.choice(good))


def _value(rng: random.Random, path: str, body: dict[str, Any]) -> bytes:
    """One value of the body, at any depth, is another one."""
    changed = copy.deepcopy(body)
    holder, key = rng.choice(list(_places(changed)))
    holder[key] = copy.deepcopy(rng.choice(VALUES))
    return request("POST", path, _encoded(changed))


def _name(rng: random.Random, path: str, body: dict[str, Any]) -> bytes:
    """A field has another name, or is missing."""
    changed = dict(body)
    value = changed.pop(rng.choice(list(changed)))
    if rng.random() < 0.5:
        changed[rng.choice(["user", "__proto__", "", "K", "x" * 1000, "\ud800"])] = value
    return request("POST", path, _encoded(changed))


def _bytes(rng: random.Random, path: str, body: dict[str, Any]) -> bytes:
    """Bytes of the body are others, or its end is missing."""
    content = bytearray(_encoded(body))
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return request("POST", path, bytes(content[: rng.randint(1, len(content))]))


def _nested(rng: random.Random, path: str, body: dict[str, Any]) -> bytes:
    """A list in a list in a list."""
    depth = rng.choice([10, 1000, 100_000])
    return request("POST", path, b'{"users": ' + b"[" * depth + b"]" * depth + b"}")


def _kind(rng: random.Random, path: str, body: dict[str, Any]) -> bytes:
    """A body of another kind, or of another method."""
    kinds = [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "",
        "application/json; charset=x",
    ]
    method = rng.choice(["POST", "POST", "PUT", "DELETE", "PATCH", "GET", "OPTIONS", "TRACE"])
    return request(method, path, _encoded(body), kind=rng.choice(kinds))


def _path(rng: random.Random, path: str, body: dict[str, Any]) -> bytes:
    """Another path."""
    return request(rng.choice(["GET", "POST"]), rng.choice(PATHS))


def _size(rng: random.Random, path: str, body: dict[str, Any]) -> bytes:
    """More of everything than a service allows, or a body that is larger."""
    if rng.random() < 0.2:
        return request("POST", path, b" " * (9 * 2**20))
    changed = {**body, "k": rng.choice([1001, 10**9]), "without": ["0"] * rng.choice([10, 10_001])}
    return request("POST", path, _encoded(changed))


MUTATIONS: list[Callable[[random.Random, str, dict[str, Any]], bytes]] = [
    _value, _value, _value, _value, _name, _bytes, _bytes, _nested, _kind, _path, _size,
]  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a body: what holds it, and the key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list) and len(inner) < 50:
            yield from _places(inner)


def _encoded(body: object) -> bytes:
    return json.dumps(body).encode()


def why_wrong(path: str, body: bytes, status: int, answer: bytes) -> str | None:
    """What is wrong with an answer to a mutated request; None if nothing is.

    Args:
        path: of the request.
        body: of the request.
        status: of the answer.
        answer: its body.
    """
    if not (200 <= status < 300 or 400 <= status < 500):
        return f"status {status}"
    if b"Traceback" in answer or b".py" in answer:
        return "the answer tells of the code"
    if status != 200 or path not in ("/lists/users", "/lists/histories", "/similar"):
        return None
    asked, lists = json.loads(body), json.loads(answer)["lists"]
    (given,) = (asked[name] for name in ("users", "histories", "items") if name in asked)
    if len(lists) != len(given):
        return "another number of lists"
    without, only = ({str(one) for one in asked.get(name) or ()} for name in ("without", "only"))
    for ranked, one in zip(lists, given, strict=True):
        ids = [item["id"] for item in ranked["items"]]
        scores = [item["score"] for item in ranked["items"]]
        own = _own(path, one)
        if len(ids) > asked.get("k", 10) or len(set(ids)) < len(ids):
            return "too many items, or one twice"
        if set(ids) & (without | own) or (only and set(ids) - only):
            return "items that were to be left out"
        if scores != sorted(scores, reverse=True):
            return "not by score"
    return None


def sent_path(sent: bytes) -> tuple[str, bytes]:
    """Path and body of a request."""
    head, _, body = sent.partition(b"\r\n\r\n")
    return head.split(b" ")[1].decode("latin-1"), body


def _own(path: str, one: Any) -> set[str]:
    """Ids that a list must not hold, since they are what it was made for."""
    if isinstance(one, list):
        return {str(item) for item in one}
    return {str(one)} if path == "/similar" else set()
