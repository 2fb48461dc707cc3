"""The documentation of the API in a browser. Every file it loads comes from this process."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

router = APIRouter(prefix="/api", include_in_schema=False)

ASSETS: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon.png": "image/png",
}
"""The files of the package fastapi-offline that the page needs, and what they are."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Telepathy API</title>
<link rel="icon" href="docs/assets/favicon.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
<div id="documentation"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#documentation",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
"""
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
}
"""Swagger UI writes style attributes and shows icons from data: addresses; it may reach nothing but this process."""
ASSET_HEADERS = {"Cache-Control": "public, max-age=86400"}


@router.get("")
async def documentation_root() -> Response:
    return RedirectResponse("/api/docs")


@router.get("/docs")
async def documentation() -> Response:
    return Response(PAGE, media_type="text/html", headers=PAGE_HEADERS)


@router.get("/docs/assets/{name}")
def asset(name: str) -> Response:
    if name == "start.js":
        return Response(START, media_type="text/javascript", headers=ASSET_HEADERS)
    if name not in ASSETS:
        raise HTTPException(404)
    content = files("fastapi_offline").joinpath("static", name).read_bytes()
    return Response(content, media_type=ASSETS[name], headers=ASSET_HEADERS)
