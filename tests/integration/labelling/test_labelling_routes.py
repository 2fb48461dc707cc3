"""The routes of labelling, as an annotator's program and an owner's call them; on each database."""

from __future__ import annotations

from uuid import uuid4

import pytest

from core.domain import RatedSegment


def test_an_annotator_labels_takes_back_skips_and_sees_how_far_they_are(make_studio, client_of):
    studio = make_studio(n_clips=3)
    base = f"/api/v1/labelling/{studio.project.id}"
    with client_of(studio.annotators[0]) as client:
        queue = client.get(f"{base}/queue", params={"n": 3}).json()
        first, second, _ = queue["clips"]
        assert (first["guess"], first["rating"], queue["recent"]) == (None, None, [])
        said = {
            "id": str(uuid4()),
            "assignment_id": first["id"],
            "spent_s": 2.5,
            "rating": {"label": "sad", "second": "calm", "intensity": 3, "note": "slow"},
        }
        answers = [client.post(f"{base}/ratings", json=said) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[1].json()["progress"] == {"n_done": 1, "n_total": 3}
        assert answers[0].json()["guess"]["label"] == "happy"
        skipped = client.post(f"{base}/skips", json={"id": str(uuid4()), "assignment_id": second["id"]})
        assert skipped.status_code == 200
        after = client.get(f"{base}/queue", params={"n": 3}).json()
        assert [clip["id"] for clip in after["clips"]][-1] == second["id"]
        assert after["recent"][0]["rating"]["note"] == "slow"
        undone = client.post(f"{base}/undo", json={"id": str(uuid4()), "assignment_id": first["id"]})
        assert undone.json()["progress"]["n_done"] == 0


def test_what_is_refused_says_why(make_studio, client_of):
    studio = make_studio(n_clips=1)
    base = f"/api/v1/labelling/{studio.project.id}"
    with client_of(studio.annotators[0]) as client:
        clip = client.get(f"{base}/queue").json()["clips"][0]
        wrong = {"id": str(uuid4()), "assignment_id": clip["id"], "rating": {"label": "sarcastic"}}
        answer = client.post(f"{base}/ratings", json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
        assert "sarcastic" in answer.json()["detail"]
        unknown = client.post(f"{base}/skips", json={"id": str(uuid4()), "assignment_id": str(uuid4())})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_assignment")
        assert client.get(f"/api/v1/labelling/{uuid4()}/queue").status_code == 404
    with client_of(studio.owner) as client:
        assert client.get(f"{base}/queue").json()["code"] == "forbidden"


def test_gold_clips_are_told_to_the_owner_only_and_annotators_are_checked_by_them(make_studio, client_of):
    studio = make_studio(n_annotators=2, n_clips=2, overlap=2)
    base = f"/api/v1/labelling/{studio.project.id}"
    gold = {str(studio.recordings[0].id): "sad"}
    with client_of(studio.owner) as client:
        settings = client.get(f"{base}/settings").json()
        answer = client.put(f"{base}/settings", json=settings | {"gold": gold})
        assert (answer.status_code, answer.json()["gold"]) == (200, gold)
    for person, label in zip(studio.annotators, ("sad", "calm"), strict=True):
        with client_of(person) as client:
            assert client.get(f"{base}/settings").json()["gold"] == {}
            for clip in client.get(f"{base}/queue").json()["clips"]:
                said = {"id": str(uuid4()), "assignment_id": clip["id"], "spent_s": 3, "rating": {"label": label}}
                assert client.post(f"{base}/ratings", json=said).status_code == 200
    with client_of(studio.owner) as client:
        found = client.get(f"{base}/agreement").json()
        assert (found["n_clips"], found["n_shared"], found["percent_agreement"]) == (2, 2, 0.0)
        assert found["krippendorff_alpha"] == pytest.approx(-0.5)
        assert found["cohen_kappa"] == [[None, 0.0], [0.0, None]]
        assert [each["gold_accuracy"] for each in found["annotators"]] == [1.0, 0.0]
        assert [each["median_spent_s"] for each in found["annotators"]] == [3.0, 3.0]
        progress = client.get(f"{base}/progress").json()
        assert list(progress.values()) == [{"n_done": 2, "n_total": 2}] * 2


def test_before_anybody_labelled_figures_are_null_and_not_zero(make_studio, client_of):
    studio = make_studio()
    with client_of(studio.owner) as client:
        found = client.get(f"/api/v1/labelling/{studio.project.id}/agreement").json()
    assert found["krippendorff_alpha"] is found["percent_agreement"] is found["annotators"][0]["agreement"] is None


def test_an_owner_gives_clips_by_hand(make_studio, client_of):
    studio = make_studio(n_clips=3, overlap=1)
    base = f"/api/v1/labelling/{studio.project.id}/assignments"
    ann, ben = (str(each.user.id) for each in studio.annotators)
    first = str(studio.recordings[0].id)
    with client_of(studio.owner) as client:
        sent = client.post(base, json={"recordings": [first], "annotators": [ann, ben]})
        assert [(each["recording_id"], each["annotator_id"]) for each in sent.json()["given"]] == [(first, ann)]
        assert sent.json()["refused"] == [{"recording_id": first, "annotator_id": ben, "reason": "taken"}]
        clips = {each["recording_id"]: each for each in client.get(base).json()["clips"]}
        assert clips[first]["holders"] == [{"annotator_id": ann, "is_rated": False, "is_by_hand": True}]
        assert [each["n_free"] for each in clips.values()] == [0, 1, 1]
        assert client.post(base, json={"recordings": [], "annotators": [ann]}).status_code == 422
    with client_of(studio.annotators[0]) as client:
        assert client.post(base, json={"recordings": [first], "annotators": [ben]}).status_code == 403


def test_the_consensus_tells_labels_and_segments(make_studio, client_of):
    studio = make_studio(n_clips=2, n_annotators=1)
    ann = studio.annotators[0]
    tasks = {task.recording.id: task.assignment.id for task in studio.queue(ann).tasks}
    first, second = (recording.id for recording in studio.recordings)
    studio.rate(ann, tasks[first], "sad")
    studio.rate(ann, tasks[second], None, segments=(RatedSegment(start_s=0.5, end_s=1.0, label="calm"),))
    with client_of(studio.owner) as client:
        sent = client.get(f"/api/v1/labelling/{studio.project.id}/consensus").json()["clips"]
    told = {each["recording_id"]: each for each in sent}
    assert (told[str(first)]["label"], told[str(first)]["probabilities"]) == ("sad", {"sad": 1.0})
    assert told[str(second)]["label"] is None
    assert told[str(second)]["segments"] == [
        {"start": 0.5, "end": 1.0, "label": "calm", "share": 1.0, "is_adjudicated": False}
    ]
    assert told[str(second)]["time_agreement"] is None
