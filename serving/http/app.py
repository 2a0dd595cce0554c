"""The paths of a service."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from . import answers
from .browse import find_items, find_users, history
from .errors import NotFound, Refused
from .gate import App, Gate
from .metrics import CONTENT_TYPE
from .reasons import explain
from .requests import ForHistories, ForUsers, NewItems, Similar, Why
from .service import Service
from .shop import Shop

HERE = Path(__file__).parent
Value = TypeVar("Value")
IdQuery = Annotated[str, Query(min_length=1, max_length=512)]
SearchQuery = Annotated[str, Query(max_length=100)]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": answers.Problem} for status in (401, 404, 409, 413, 422)
}
DESCRIPTION = (
    "Lists from an export of crossalign: for users, for histories, of similar and new items."
)


def create_app(service: Service, token: str | None) -> App:
    """The ASGI application of one process.

    Args:
        service: answers.
        token: that requests must carry, if any.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="crossalign",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=PROBLEMS,
    )
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    _add_lists(app, service)
    _add_browsing(app, service)
    _add_state(app, service)
    _add_pages(app)
    paths = {route.path for route in app.routes if hasattr(route, "path")}
    return Gate(app, service.options, token, service.metrics, paths)


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return JSONResponse({"detail": error.reason}, error.status)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    """The first problem of a request, without what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part)[:60] for part in first["loc"])
    detail = f"{place}: {first['msg']}".encode("utf-8", "replace").decode()
    return JSONResponse({"detail": detail}, 422)


def _add_lists(app: FastAPI, service: Service) -> None:
    @app.post("/lists/users", tags=["lists"], summary="Lists for users")
    async def lists_for_users(request: ForUsers) -> answers.RankedLists:
        return await service.serving.ranking.for_users(request)

    @app.post("/lists/histories", tags=["lists"], summary="Lists for people who are new")
    async def lists_for_histories(request: ForHistories) -> answers.RankedLists:
        return await service.serving.ranking.for_histories(request)

    @app.post("/similar", tags=["lists"], summary="Items like others")
    async def similar_items(request: Similar) -> answers.RankedLists:
        return await service.serving.ranking.similar(request)

    @app.post("/new", tags=["lists"], summary="New items by their content")
    async def new_items(request: NewItems) -> answers.PlacedItems:
        return await service.serving.placing.place(request)

    @app.post("/why", tags=["lists"], summary="Why an item is in a list")
    async def why(request: Why) -> answers.Reason:
        ranking = service.serving.ranking
        return await _slowly(service, lambda: explain(ranking, request))


def _add_browsing(app: FastAPI, service: Service) -> None:
    @app.get("/users", tags=["browse"], summary="Users whose id begins so")
    async def users(search: SearchQuery = "") -> answers.Found:
        shop = service.serving.shop
        return await _slowly(service, lambda: find_users(shop, search))

    @app.get("/items", tags=["browse"], summary="Items by id or words of the title")
    async def items(search: SearchQuery = "") -> answers.Found:
        shop = service.serving.shop
        return await _slowly(service, lambda: find_items(shop, search))

    @app.get("/history", tags=["browse"], summary="What a user has")
    async def user_history(user: IdQuery) -> answers.History:
        return history(service.serving.shop, user)

    @app.get("/picture", tags=["browse"], summary="Picture of an item", response_class=Response)
    async def picture(item: IdQuery) -> Response:
        catalogue = service.serving.shop.catalogue
        found = await _slowly(service, lambda: catalogue.picture(item))
        if found is None:
            raise NotFound("there is no picture of this item")
        return Response(found[0], media_type=found[1])


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/about", tags=["state"], summary="The export that is served")
    async def about() -> answers.About:
        serving = service.serving
        shop, options = serving.shop, service.options
        bounds = {name: getattr(options, name) for name in BOUNDS}
        return answers.About(
            export=shop.name,
            created=shop.created,
            users=len(shop.users),
            items=len(shop.items),
            dim=shop.item.shape[1],
            **{name: shop.about[name] for name in ("dataset", "backbone", "alignment", "test")},
            index=shop.about["index"],
            evidence=_evidence(shop),
            modalities=serving.placing.modalities(),
            titles=bool(shop.catalogue.titles),
            pictures=bool(shop.catalogue.pictures),
            bounds=bounds,
        )

    @app.get("/health", tags=["state"], summary="Whether the process lives")
    async def health() -> answers.Health:
        shop = service.shop
        evidence = None if shop is None else shop.evidence is not None
        return answers.Health(status="ok", evidence=evidence)

    @app.get("/ready", tags=["state"], summary="Whether there is an export to serve")
    async def ready() -> answers.State:
        _ = service.serving
        return answers.State(status="ready")

    @app.get("/metrics", tags=["state"], summary="For Prometheus", response_class=Response)
    async def metrics() -> Response:
        page = service.metrics.page(service.shop, service.number, service.refused)
        return Response(page, media_type=CONTENT_TYPE)


def _evidence(shop: Shop) -> answers.EvidenceState | None:
    if shop.evidence is None:
        return None
    return answers.EvidenceState(**shop.evidence.about())


BOUNDS = ("max_k", "max_batch", "max_ids", "max_body", "max_pixels")


def _add_pages(app: FastAPI) -> None:
    for path, file in (("/", "page.html"), ("/docs", "docs.html")):
        text = (HERE / file).read_text(encoding="utf-8")
        headers = {"content-security-policy": _policy(text)}
        app.get(path, include_in_schema=False)(_page(text, headers))


def _page(text: str, headers: dict[str, str]) -> Callable[[], Any]:
    async def page() -> HTMLResponse:
        return HTMLResponse(text, headers=headers)

    return page


def _policy(page: str) -> str:
    """Lets a page run its own script and style, ask this service, and nothing else."""

    def allowed(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = (hashlib.sha256(part.encode()).digest() for part in parts)
        return " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in hashes)

    return (
        f"default-src 'none'; script-src {allowed('script')}; style-src {allowed('style')}; "
        "connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


async def _slowly(service: Service, call: Callable[[], Value]) -> Value:
    """Run something that may take a while, while other requests are answered."""
    return await asyncio.get_running_loop().run_in_executor(service.slow, call)
