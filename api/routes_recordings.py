"""Recordings: the sound itself, for players, and what it looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access import Asking, OpenWorkbench, ReaderOf
from api.routes_predictions import refusals
from api.schemas import OverviewShape
from core.errors import InvalidParameterError, UnknownRecordingError
from core.features.audio import DecodeLimits, decode
from core.features.containers import Container
from core.features.log_mel import N_FFT
from core.features.overview import overview
from core.store.recordings import select_recording

router = APIRouter(prefix="/api/v1", tags=["recordings"])

MEDIA_TYPES: Mapping[str, str] = {
    Container.WAV: "audio/wav",
    Container.FLAC: "audio/flac",
    Container.MP3: "audio/mpeg",
    Container.ADTS: "audio/aac",
    Container.OGG: "audio/ogg",
    Container.MP4: "audio/mp4",
    Container.WEBM: "audio/webm",
}
MAX_COLUMNS = 2000
"""A spectrogram of so many has 160 kB."""
SHORTEST = N_FFT // 2 + 1
"""In samples: a spectrogram takes no less."""
LONGEST_S = 1e6
"""Longer than any recording: infinity is no place in one."""
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@router.get(
    "/recordings/{recording_id}/audio",
    summary="Play a recording",
    response_class=Response,
    response_description="The bytes as they were sent.",
    responses={
        200: {"content": {"audio/*": {}}},
        206: {"description": "The part asked for by `Range`, as players do when seeking.", "content": {"audio/*": {}}},
        304: {"description": "Unchanged since the ETag the sender has."},
        416: {"description": "The part asked for lies beyond the end."},
        **refusals(404, 422, 503),
    },
)
def play_recording(recording_id: UUID, request: Request, workbench: OpenWorkbench, reader: ReaderOf) -> Response:
    """The recording as it was sent, whole or in parts."""
    recording = select_recording(workbench.store, recording_id=recording_id, reader=reader)
    if recording is None:
        raise UnknownRecordingError(recording_id)
    headers = {
        "ETag": f'"{recording.sha256}"',
        "Cache-Control": "private, max-age=3600, immutable",
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(PurePosixPath(recording.name).name, safe='')}",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    data = workbench.recording_files.read(recording.sha256)
    media_type = MEDIA_TYPES.get(recording.format.container, "application/octet-stream")
    asked = _range(request.headers.get("range", ""), len(data))
    if asked is None:
        return Response(data, media_type=media_type, headers=headers)
    start, end = asked
    if start >= end:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], status_code=206, media_type=media_type, headers=headers)


@router.get(
    "/recordings/{recording_id}/overview",
    summary="See a recording",
    response_model=OverviewShape,
    response_description="Its outline and its log-mel spectrogram.",
    responses={304: {"description": "Unchanged since the ETag the sender has."}, **refusals(404, 422, 503)},
)
def draw_recording(
    recording_id: UUID,
    request: Request,
    response: Response,
    workbench: OpenWorkbench,
    reader: ReaderOf,
    columns: Annotated[int, Query(ge=1, le=MAX_COLUMNS, description="At most so many are sent.")] = 600,
    start_s: Annotated[float, Query(ge=0, le=LONGEST_S, description="Where the stretch to draw begins.")] = 0.0,
    end_s: Annotated[
        float | None, Query(gt=0, le=LONGEST_S, description="Where it ends; left out: at the end.")
    ] = None,
) -> OverviewShape | Response:
    """What to draw of a recording, or of a stretch of it, as wide as a screen however long it is."""
    recording = select_recording(workbench.store, recording_id=recording_id, reader=reader)
    if recording is None:
        raise UnknownRecordingError(recording_id)
    headers = {
        "ETag": f'"{recording.sha256}-{columns}-{start_s:g}-{end_s}"',
        "Cache-Control": "private, max-age=3600, immutable",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    data = workbench.recording_files.read(recording.sha256)
    waveform = decode(data, limits=DecodeLimits.from_settings(workbench.settings)).waveform
    start, end = (round(each * waveform.sample_rate) for each in (start_s, end_s or waveform.duration_s))
    stretch = replace(waveform, samples=waveform.samples[start:end])
    if len(stretch.samples) < SHORTEST:
        allowed = f"a stretch of {SHORTEST / waveform.sample_rate:.3f} s or more within {waveform.duration_s:.2f} s"
        raise InvalidParameterError("start_s", f"{start_s:g} and end_s {end_s}", allowed)
    response.headers.update(headers)
    return OverviewShape.of(overview(stretch, n_columns=columns), start_s=start / waveform.sample_rate)


@router.delete(
    "/recordings/{recording_id}",
    summary="Delete a recording",
    status_code=204,
    response_class=Response,
    response_description="It is gone, with its sound and every prediction about it.",
    responses=refusals(403, 404, 422, 503),
)
def delete_recording(recording_id: UUID, workbench: OpenWorkbench, caller: Asking) -> Response:
    """Deletes one of your own recordings, all predictions about it, and its sound unless somebody else sent the same.

    Models that learned from it are marked: `GET /api/v1/models` counts their deleted recordings.
    """
    workbench.delete_recording(recording_id, reader=caller.reader, by=caller)
    return Response(status_code=204)


def _range(header: str, n_bytes: int) -> tuple[int, int] | None:
    """The half-open range of bytes that a `Range` header asks for (RFC 9110, section 14.1.2).

    None for the whole: no header, several ranges, or one that cannot be read, which the RFC lets a server ignore.
    """
    found = ONE_RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(n_bytes - int(last), 0), n_bytes
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, n_bytes) if last else n_bytes
