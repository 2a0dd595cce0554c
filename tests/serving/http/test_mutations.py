"""Requests that are nearly right are refused or answered rightly, and break nothing."""

from __future__ import annotations


def test_no_mutated_request_gets_a_wrong_answer_or_ends_the_service(asgi, capsys) -> None:
    from mutated import mutated_requests, sent_path, why_wrong

    good = {"users": ["0", "1"], "k": 5}
    before = asgi.post("/lists/users", good).body
    widths = {name: s["width"] for name, s in asgi.get("/about").json()["modalities"].items()}
    statuses = set()
    for sent in mutated_requests(400, widths):
        head = sent.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:])
        path, body = sent_path(sent)
        answer = asgi.run(asgi.ask(head[0].split()[0], path, body, headers))
        plain = path.partition("?")[0]
        assert why_wrong(plain, body, answer.status, answer.body) is None, (sent[:300], answer)
        statuses.add(answer.status)
    assert {200, 404, 405, 413, 422} <= statuses
    assert asgi.post("/lists/users", good).body == before
    assert "Traceback" not in capsys.readouterr().err
