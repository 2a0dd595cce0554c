"""Who may come in, how large a request may be, and what errors say."""

from __future__ import annotations

import asyncio
import re

import pytest

from crossalign.cli import main
from crossalign.errors import ConfigError
from crossalign.serving.http.options import ServeOptions, read_token, require_token

TOKEN = "a-token-of-more-than-16-letters"
GOOD = {"users": ["3"], "k": 2}


def test_a_token_is_wanted_for_all_that_tells_of_users_and_items(served, export) -> None:
    asgi = served(export, token=TOKEN)
    right = {"authorization": f"Bearer {TOKEN}", "host": "shop.example"}
    for wrong in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Basic {TOKEN}"},
                  {"authorization": "Bearer é"}):  # fmt: skip
        for path in ("/about", "/metrics", "/users", "/picture?item=1", "/no-such-path"):
            answer = asgi.get(path, **wrong)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert asgi.post("/lists/users", GOOD, **wrong).status == 401
    for path in ("/", "/docs", "/openapi.json", "/health", "/ready"):
        assert asgi.get(path).status == 200
    assert asgi.post("/lists/users", GOOD, **right).status == 200
    assert asgi.get("/about", **right).status == 200


def test_without_a_token_only_names_of_this_machine_are_served(asgi) -> None:
    """Else a web page could reach the service under a name that leads here."""
    for host in ("localhost:8000", "127.0.0.1", "[::1]:80"):
        assert asgi.get("/about", host=host).status == 200
    assert asgi.get("/about", host="evil.example:8000").status == 421


def test_listening_elsewhere_needs_a_token(tmp_path, monkeypatch) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"):
        require_token(ServeOptions(host=host), None)
    for host in ("0.0.0.0", "::", "", "10.0.0.1", "shop.example"):
        with pytest.raises(ConfigError, match="needs a token"):
            require_token(ServeOptions(host=host), None)
        require_token(ServeOptions(host=host), TOKEN)
    monkeypatch.setenv("CROSSALIGN_TOKEN", TOKEN)
    assert read_token(None) == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}2\n")
    assert read_token(tmp_path / "token") == f"{TOKEN}2"
    for bad in ("short", "with a blank in its middle", "é" * 20):
        (tmp_path / "token").write_text(bad)
        with pytest.raises(ConfigError, match="16 visible ASCII"):
            read_token(tmp_path / "token")
    with pytest.raises(ConfigError, match="no token can be read"):
        read_token(tmp_path / "none")


def test_sizes_are_bounded(served, export) -> None:
    asgi = served(export, max_k=20, max_batch=3, max_ids=5, max_body=2000)

    def detail(path, body) -> str:
        answer = asgi.post(path, body)
        assert answer.status == 422
        return answer.json()["detail"]

    assert "k is 21" in detail("/lists/users", {"users": ["3"], "k": 21})
    assert "batch is 4" in detail("/lists/users", {"users": ["3"] * 4})
    assert "'without'" in detail("/lists/users", {"users": ["3"], "without": ["1"] * 6})
    assert "'only'" in detail("/similar", {"items": ["3"], "only": ["1"] * 6})
    assert "'history'" in detail("/lists/histories", {"histories": [["1"] * 6]})
    assert "'history'" in detail("/why", {"item": "1", "history": ["1"] * 6})
    assert asgi.post("/lists/users", {"users": ["3"], "without": ["x" * 500] * 4}).status == 413
    declared = {"content-length": "5000"}
    assert asgi.run(asgi.ask("POST", "/lists/users", b"{}", declared)).status == 413
    declared = {"content-length": "9" * 5000}
    assert asgi.run(asgi.ask("POST", "/lists/users", b"{}", declared)).status == 413


def test_a_body_that_does_not_come_is_not_waited_for(served, export) -> None:
    asgi = served(export, body_seconds=0.05)
    sent = []

    async def ask() -> None:
        async def send(message) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/lists/users", "method": "POST", "query_string": b"",
                 "headers": [(b"host", b"localhost")]}  # fmt: skip
        await asgi.app(scope, asyncio.Event().wait, send)

    asgi.run(ask())
    assert sent[0]["status"] == 408


def test_errors_are_one_line_and_tell_nothing_of_the_code(asgi, monkeypatch, capsys) -> None:
    unknown = asgi.post("/lists/users", {"users": ["nobody"]})
    assert (unknown.status, unknown.json()) == (404, {"detail": "user 'nobody' is unknown"})
    wrong = asgi.post("/lists/users", {"users": ["3"], "k": "many"})
    assert wrong.json()["detail"].startswith("body.k: ")
    assert "many" not in wrong.json()["detail"]
    assert asgi.run(asgi.ask("POST", "/lists/users", b"{")).status == 422
    assert asgi.post("/lists/users", {**GOOD, "kk": 3}).status == 422

    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(asgi.service.serving.ranking, "for_users", broken)
    answer = asgi.post("/lists/users", GOOD)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert "secret" in capsys.readouterr().err


def test_pages_may_run_their_own_script_and_nothing_else(asgi) -> None:
    for path in ("/", "/docs"):
        answer = asgi.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        addresses = re.findall(r"(?:https?:)?//[\w.]+", answer.body.decode())
        assert addresses == []


def test_the_openapi_page_names_every_path_and_its_schemas(asgi) -> None:
    api = asgi.get("/openapi.json").json()
    assert {"/lists/users", "/lists/histories", "/similar", "/new", "/why", "/metrics"} <= set(
        api["paths"]
    )
    assert api["components"]["schemas"]["ForUsers"]["properties"]["k"]["description"]
    assert "/docs" not in api["paths"]


def test_metrics_count_requests_and_describe_the_export(asgi) -> None:
    for _ in range(3):
        asgi.post("/lists/users", GOOD)
    asgi.get("/no-such-path/with/an/id")
    page = asgi.get("/metrics").body.decode()
    assert 'crossalign_requests_total{path="/lists/users",status="200"} 3.0' in page
    assert 'crossalign_requests_total{path="other",status="404"} 1.0' in page
    assert 'crossalign_request_seconds_count{path="/lists/users"} 3.0' in page
    assert "crossalign_index_items 100.0" in page
    assert 0 <= float(re.search(r"export_age_seconds ([\d.]+)", page)[1]) < 3600


def test_health_and_readiness_differ_before_there_is_an_export(asgi) -> None:
    assert asgi.get("/ready").json() == {"status": "ready"}
    asgi.service._serving = None
    assert asgi.get("/health").status == 200
    assert asgi.get("/ready").status == 503


def test_what_cannot_be_served_is_refused_in_one_line(export, tmp_path, capsys) -> None:
    (tmp_path / "items.csv").write_text("id,colour\n1,red\n")
    refused = {
        (str(tmp_path),): "is no export",
        (str(export), "--host", "0.0.0.0"): "needs a token",
        (str(export), "--port", "x"): "not a port",
        (str(export), "--watch", "0"): "serve.watch",
        (str(export), "--title", "name"): "--items",
        (str(export), "--items", str(tmp_path / "no.csv")): "no such file",
        (str(export), "--items", str(tmp_path / "items.csv")): "no column is called title",
        (str(export), "--token-file", str(tmp_path / "no")): "no token can be read",
    }
    for arguments, says in refused.items():
        assert main(["serve", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert says in error, error
        assert error.count("\n") == 1
