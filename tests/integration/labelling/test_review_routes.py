"""The routes of review: what the page shows and does, by program."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from core.access.roles import ROLE_SCOPES
from core.domain import RatedSegment, RatingFlag, Role
from core.store.audit import select_audit_entries
from tests.callers import key_header


@pytest.fixture
def make_person(workbench):
    """Somebody new, who may share a studio's project."""

    def make(role, member_of=None):
        made = workbench.access.caller_of_key(key_header(workbench, role=role, scopes=ROLE_SCOPES[role])["X-API-Key"])
        if member_of is not None:
            workbench.projects.add_member(member_of.project.id, made.user.email, by=member_of.owner)
        return made

    return make


@pytest.fixture
def disputed(make_studio):
    """Three clips: labelled apart by both, labelled alike, and one that nobody can tell."""
    studio = make_studio(n_clips=3, overlap=2)
    apart, alike, untold = (recording.id for recording in studio.recordings)
    for person, label in zip(studio.annotators, ("sad", "calm"), strict=True):
        tasks = {task.recording.id: task.assignment.id for task in studio.queue(person).tasks}
        studio.rate(person, tasks[apart], label, note=f"I hear {label}", spent_s=2.0)
        studio.rate(person, tasks[alike], "happy")
        studio.rate(person, tasks[untold], None, flag=RatingFlag.CANNOT_TELL)
    return studio


def base(studio):
    return f"/api/v1/labelling/{studio.project.id}"


def by_recording(answer):
    assert answer.status_code == 200, answer.json()
    return {clip["recording_id"]: clip for clip in answer.json()["clips"]}


def test_ratings_stand_side_by_side_those_that_wait_first(disputed, client_of):
    apart, alike, untold = (str(recording.id) for recording in disputed.recordings)
    with client_of(disputed.owner) as client:
        answer = client.get(f"{base(disputed)}/review")
        clips = by_recording(answer)
        waiting = client.get(f"{base(disputed)}/review", params={"shown": "to_decide", "limit": 1}).json()
    assert answer.json()["clips"][0]["recording_id"] == apart
    said = {each["annotator_id"]: each for each in clips[apart]["ratings"]}
    assert set(said) == {str(person.user.id) for person in disputed.annotators}
    first = said[str(disputed.annotators[0].user.id)]
    assert (first["rating"]["label"], first["rating"]["note"], first["spent_s"]) == ("sad", "I hear sad", 2.0)
    assert clips[apart]["consensus"]["probabilities"] == {"calm": 0.5, "sad": 0.5}
    assert clips[apart]["disagreement_nats"] == pytest.approx(0.6931, abs=1e-4)
    assert clips[apart]["answer"]["label"] == "happy"
    assert [clips[each]["is_to_decide"] for each in (apart, alike, untold)] == [True, False, True]
    assert (waiting["n_clips"], [clip["recording_id"] for clip in waiting["clips"]]) == (2, [apart])


def test_a_program_decides_sends_back_and_comments_as_the_page_does(disputed, client_of, workbench):
    apart, alike, untold = (str(recording.id) for recording in disputed.recordings)
    owner = disputed.owner
    with client_of(owner) as client:

        def decide(**given):
            answer = client.post(f"{base(disputed)}/decisions", json=given)
            assert answer.status_code == 200, answer.json()
            return answer.json()

        said = decide(recording_id=apart, kind="adjudicate", label="calm", note="irony")
        assert (said["kind"], said["label"], said["note"]) == ("adjudicate", "calm", "irony")
        assert said["decided_by"] == str(owner.user.id)
        decide(recording_id=alike, kind="send_back", note="listen to the end")
        decide(recording_id=untold, kind="comment", note="two people speak")
        decide(recording_id=untold, kind="adjudicate_segment", start=0.5, end=2.0, label="sad")
        decide(recording_id=untold, kind="adjudicate_segment", start=1.0, end=1.5)
        clips = by_recording(client.get(f"{base(disputed)}/review", params={"shown": "decided"}))
        everything = by_recording(client.get(f"{base(disputed)}/review"))
    assert set(clips) == {apart, untold}
    agreed = clips[apart]["consensus"]
    assert (agreed["label"], agreed["probabilities"], agreed["method"]) == ("calm", {"calm": 1.0}, "adjudicated")
    segments = clips[untold]["consensus"]["segments"]
    assert [(each["start"], each["end"], each["label"]) for each in segments] == [(0.5, 1.0, "sad"), (1.5, 2.0, "sad")]
    assert [each["kind"] for each in clips[untold]["decisions"]] == ["comment", *["adjudicate_segment"] * 2]
    assert (everything[alike]["ratings"], everything[alike]["consensus"]["label"]) == ([], None)
    again = disputed.queue(disputed.annotators[0]).tasks
    assert [str(task.recording.id) for task in again] == [alike]
    noted = [each.action for each in select_audit_entries(workbench.access.store, subject=apart)]
    assert "labelling.adjudicate" in noted


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"kind": "adjudicate"}, "the label that counts"),
        ({"kind": "adjudicate", "label": "sarcastic"}, "sarcastic"),
        ({"kind": "adjudicate", "label": "sad", "start": 1.0, "end": 2.0}, "left out"),
        ({"kind": "adjudicate_segment", "label": "sad"}, "seconds"),
        ({"kind": "adjudicate_segment", "label": "sad", "start": 2.0, "end": 9.0}, "within 5.00 s"),
        ({"kind": "send_back", "label": "sad"}, "left out"),
        ({"kind": "comment", "note": "  "}, "what you have to say"),
        ({"kind": "forget"}, "kind"),
    ],
)
def test_a_decision_out_of_place_is_refused_and_says_why(disputed, client_of, given, word):
    body = {"recording_id": str(disputed.recordings[0].id)} | given
    with client_of(disputed.owner) as client:
        answer = client.post(f"{base(disputed)}/decisions", json=body)
        assert answer.status_code == 422
        assert word in answer.text
        assert by_recording(client.get(f"{base(disputed)}/review"))[body["recording_id"]]["decisions"] == []


def test_only_the_owner_and_admins_decide_and_strangers_see_nothing(disputed, client_of, make_person):
    body = {"recording_id": str(disputed.recordings[0].id), "kind": "comment", "note": "mine"}
    with client_of(disputed.annotators[0]) as client:
        assert client.get(f"{base(disputed)}/review").status_code == 403
        assert client.post(f"{base(disputed)}/decisions", json=body).status_code == 403
    with client_of(make_person(Role.ANALYST)) as client:
        assert client.get(f"{base(disputed)}/review").status_code == 404
        assert client.post(f"{base(disputed)}/decisions", json=body).json()["code"] == "unknown_project"
    with client_of(make_person(Role.ANALYST, member_of=disputed)) as client:
        assert len(by_recording(client.get(f"{base(disputed)}/review"))) == 3
        assert client.post(f"{base(disputed)}/decisions", json=body).json()["code"] == "forbidden"
    with client_of(make_person(Role.ADMIN)) as client:
        assert client.post(f"{base(disputed)}/decisions", json=body).status_code == 200
        unknown = client.post(f"{base(disputed)}/decisions", json=body | {"recording_id": str(uuid4())})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_recording")


def test_a_decision_sent_twice_with_its_key_counts_once(disputed, client_of):
    body = {"recording_id": str(disputed.recordings[0].id), "kind": "comment", "note": "once"}
    with client_of(disputed.owner) as client:
        answers = [
            client.post(f"{base(disputed)}/decisions", json=body, headers={"Idempotency-Key": "a-1"}) for _ in range(2)
        ]
        assert answers[0].json() == answers[1].json()
        assert "ratelimit" in str(answers[0].headers).lower()
        [kept] = by_recording(client.get(f"{base(disputed)}/review"))[body["recording_id"]]["decisions"]
    assert kept["note"] == "once"


def test_who_is_still_to_rate_a_clip_blind_does_not_see_the_answer(make_studio, client_of):
    studio = make_studio(n_clips=1, n_annotators=1, overlap=2)
    labelling = studio.workbench.labelling
    settings = labelling.settings(studio.project.id, studio.owner.reader)
    with_owner = replace(settings, annotators=(*settings.annotators, studio.owner.user.id))
    labelling.configure(studio.project.id, with_owner, by=studio.owner)
    studio.rate_next(studio.annotators[0])
    with client_of(studio.owner) as client:
        [clip] = by_recording(client.get(f"{base(studio)}/review")).values()
        assert clip["answer"] is None
        studio.rate_next(studio.owner)
        [clip] = by_recording(client.get(f"{base(studio)}/review")).values()
        assert clip["answer"]["label"] == "happy"


def test_segments_that_people_drew_are_told_with_their_rating(make_studio, client_of):
    studio = make_studio(n_clips=1, n_annotators=1)
    ann = studio.annotators[0]
    assignment = studio.queue(ann).tasks[0].assignment.id
    studio.rate(ann, assignment, None, segments=(RatedSegment(start_s=0.5, end_s=1.0, label="calm"),))
    with client_of(studio.owner) as client:
        [clip] = by_recording(client.get(f"{base(studio)}/review")).values()
    assert clip["ratings"][0]["rating"]["segments"] == [{"start": 0.5, "end": 1.0, "label": "calm"}]
