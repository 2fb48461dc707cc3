"""Purposes in plain words, those that the law forbids, and what people are told before their voice is recorded."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain import Project, Purpose

PURPOSES: Mapping[Purpose, str] = {
    Purpose.PERSONAL: "My own voice, for myself",
    Purpose.RESEARCH: "Research with people who consented",
    Purpose.SERVICE_QUALITY: "Quality of a service, on calls whose callers consented",
    Purpose.HEALTH: "Health or safety, for a medical or safety reason",
    Purpose.MEDIA: "Film, theatre, games, art",
    Purpose.WORKPLACE: "Emotions of employees or applicants at work",
    Purpose.EDUCATION: "Emotions of pupils or students at school or university",
}

FORBIDDEN: Mapping[Purpose, str] = {
    Purpose.WORKPLACE: "people at work",
    Purpose.EDUCATION: "people in education",
}
"""Regulation (EU) 2024/1689 (AI Act), Article 5(1)(f): inferring emotions at the workplace and in education
institutions is prohibited, except for medical or safety reasons."""

LAW = (
    "The EU's AI Act, Article 5(1)(f), prohibits inferring people's emotions at work and in education, except for "
    "medical or safety reasons. Such a purpose is refused here unless an admin records that reason."
)

CONSENT_VERSION = 1
"""Of the text below: who agreed to an older one is asked again."""


def consent_sentences(project: Project | None, *, retention_days: int | None) -> tuple[str, ...]:
    """What somebody agrees to, before the first recording of `project` or, for None, outside projects."""
    if project is None:
        purpose, seen_by = PURPOSES[Purpose.PERSONAL], "You and the admins of this workbench"
    else:
        note = f" ({project.purpose_note})" if project.purpose_note else ""
        purpose = PURPOSES[project.purpose] + note
        seen_by = f"Everybody in the project \u201c{project.name}\u201d and the admins of this workbench"
    kept = "until you delete them" if not retention_days else f"for {retention_days:,} days, or until you delete them"
    return (
        f"Purpose: {purpose}.",
        f"Recordings and answers are kept {kept}. {seen_by} can see and hear them.",
        "A voice is personal data, and what is inferred from it is an estimate that can be wrong. Record only people "
        "who know this and agreed; they may withdraw, and their recordings can then be deleted.",
        LAW,
    )
