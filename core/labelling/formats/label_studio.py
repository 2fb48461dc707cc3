"""Ratings as tasks of Label Studio, in its JSON: a task for each recording, an annotation for each annotator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from core.domain import RatedSegment
from core.labelling.formats.file_ratings import (
    FileProblem,
    FileRating,
    Files,
    Reading,
    by_recording,
    recording_of,
    text_of,
)
from core.labelling.formats.values import rating_from, values_of

_EXTRA = ("rating_id", "answer_shown", "rated_at")
"""Fields that Label Studio has no place for: they stand in an annotation's `meta`."""


def write_label_studio(ratings: Sequence[FileRating]) -> Files:
    """All ratings as one file of tasks."""
    tasks = []
    for number, some in enumerate(by_recording(ratings).values(), 1):
        tasks.append(
            {
                "id": number,
                "data": {
                    "audio": some[0].recording_name,
                    "recording_id": str(some[0].recording_id),
                    "duration_s": some[0].duration_s,
                },
                "annotations": [_annotation(rating) for rating in some],
            }
        )
    return {"tasks.json": json.dumps(tasks, ensure_ascii=False, indent=1).encode()}


def _annotation(rating: FileRating) -> dict[str, object]:
    results: list[dict[str, object]] = []

    def add(name: str, kind: str, value: dict[str, object]) -> None:
        results.append(
            {
                "id": f"{name}-{len(results)}",
                "from_name": name,
                "to_name": "audio",
                "type": kind,
                "original_length": rating.duration_s,
                "value": value,
            }
        )

    for name, chosen in (("emotion", rating.label), ("second", rating.second), ("flag", rating.flag)):
        if chosen is not None:
            add(name, "choices", {"choices": [str(chosen)]})
    if rating.intensity is not None:
        add("intensity", "rating", {"rating": rating.intensity})
    if rating.note:
        add("note", "textarea", {"text": [rating.note]})
    for segment in rating.segments:
        add("segments", "labels", {"start": segment.start_s, "end": segment.end_s, "labels": [segment.label]})
    values = values_of(rating)
    return {
        "completed_by": {"email": rating.annotator},
        "created_at": values["rated_at"],
        "lead_time": rating.spent_s,
        "result": results,
        "meta": {name: values[name] for name in _EXTRA if values[name]},
    }


def read_label_studio(files: Files) -> Reading:
    """Ratings of every annotation of every task; those that were cancelled are left out."""
    ratings: list[FileRating] = []
    problems: list[FileProblem] = []
    for path, data in files.items():
        try:
            tasks = json.loads(text_of(data))
        except (ValueError, RecursionError):
            problems.append(FileProblem(where=path, sentence="This is no JSON."))
            continue
        for number, task in enumerate(tasks if isinstance(tasks, list) else [tasks], 1):
            where = f"{path}, task {number}"
            try:
                ratings += _ratings_of(task, where)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                sentence = str(error) if type(error) is ValueError else "This is no task as Label Studio exports it."
                problems.append(FileProblem(where=where, sentence=sentence))
    return Reading(ratings=ratings, problems=problems)


def _ratings_of(task: Mapping[str, Any], where: str) -> list[FileRating]:
    about = task["data"]
    audio = next((str(value) for key, value in about.items() if key in ("audio", "url", "file")), "")
    name = PurePosixPath(unquote(urlsplit(audio).path)).name if "//" in audio or "/" in audio else audio
    found_id, stem = recording_of(name)
    recording_id = str(about.get("recording_id") or found_id or "")
    if "annotations" not in task:
        raise KeyError("annotations")
    ratings = []
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        who = annotation.get("completed_by") or ""
        meta = annotation.get("meta") or {}
        values = {each: str(meta.get(each) or "") for each in _EXTRA} | {
            "recording_id": recording_id,
            "recording_name": name if found_id is None else stem,
            "annotator": str(who.get("email") or who.get("id") or "") if isinstance(who, dict) else str(who),
            "spent_s": str(annotation.get("lead_time") or ""),
        }
        values["rated_at"] = values["rated_at"] or str(annotation.get("created_at") or "")
        values |= _said(annotation["result"])
        segments = tuple(
            RatedSegment(
                start_s=float(result["value"]["start"]),
                end_s=float(result["value"]["end"]),
                label=str(result["value"]["labels"][0]),
            )
            for result in annotation["result"]
            if result.get("type") == "labels"
        )
        rating = replace(rating_from(values, where=where), segments=segments)
        ratings.append(rating)
    return ratings


def _said(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What an annotation says of the whole recording; choices of any other name than ours are its label."""
    said: dict[str, str] = {}
    for result in results:
        name, value = result.get("from_name"), result.get("value") or {}
        if result.get("type") == "choices":
            said[str(name) if name in ("second", "flag") else "label"] = str(value["choices"][0])
        elif result.get("type") == "rating" and name == "intensity":
            said["intensity"] = str(value["rating"])
        elif result.get("type") == "textarea":
            said["note"] = "\n".join(value["text"]) if isinstance(value["text"], list) else str(value["text"])
    return said
