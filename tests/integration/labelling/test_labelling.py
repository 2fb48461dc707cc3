"""Labelling over a workbench with each database: who gets which clip, and that nothing said is lost."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import select

import core.labelling.labelling as labelling_module
from core.domain import LabellingSettings, QueueKind, RatedSegment, RatingFlag, Role, Sketch
from core.errors import (
    ForbiddenError,
    InvalidParameterError,
    NotLabelledError,
    UnknownAssignmentError,
    UnknownProjectError,
    UnknownRecordingError,
)
from core.identifiers import new_id
from core.labelling.consensus import Method
from core.labelling.state import Progress
from core.store import schema
from core.store.audit import select_audit_entries
from core.store.labelling import insert_imported
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording
from tests.integration.labelling.conftest import N_CLIPS, again, make_caller, make_rating


def clips_of(queue):
    return [task.recording.id for task in queue.tasks]


def test_each_clip_goes_to_as_many_people_as_the_overlap_says_and_to_nobody_twice(make_studio):
    studio = make_studio(n_annotators=3, overlap=2)
    given = {person.user.id: clips_of(studio.queue(person, N_CLIPS)) for person in studio.annotators}
    assert all(len(clips) == len(set(clips)) for clips in given.values())
    places = [clip for clips in given.values() for clip in clips]
    assert sorted(places) == sorted(recording.id for recording in studio.recordings for _ in range(2))


def test_reload_goes_on_at_the_same_clip(make_studio):
    studio = make_studio()
    ann = studio.annotators[0]
    first = clips_of(studio.queue(ann, 3))
    assert clips_of(studio.queue(ann, 3)) == first
    studio.rate_next(ann)
    assert clips_of(studio.queue(ann, 2)) == first[1:]


def test_people_who_ask_at_the_same_moment_never_get_the_same_place(make_studio):
    studio = make_studio(n_annotators=4, n_clips=12)
    with ThreadPoolExecutor(8) as pool:
        queues = list(pool.map(lambda person: studio.queue(person, 3), studio.annotators * 2))
    by_person = {}
    for queue in queues:
        for task in queue.tasks:
            by_person.setdefault(task.assignment.annotator_id, set()).add(task.recording.id)
    clips = [clip for each in by_person.values() for clip in each]
    assert len(clips) == len(set(clips))
    assert set(clips) == {recording.id for recording in studio.recordings}


def test_what_is_rated_is_kept_once_however_often_it_is_sent(make_studio):
    studio = make_studio()
    ann = studio.annotators[0]
    assignment = studio.queue(ann, 1).tasks[0].assignment
    rating_id = uuid4()
    for _ in range(2):
        studio.rate(ann, assignment.id, "angry", id=rating_id, second="sad", intensity=2, note="loud", spent_s=1.5)
    said = studio.workbench.labelling.counted(studio.project.id, reader=studio.owner.reader).ratings
    [rating] = said[assignment.recording_id]
    assert (rating.label, rating.second, rating.intensity, rating.note, rating.spent_s) == (
        "angry",
        "sad",
        2,
        "loud",
        1.5,
    )
    assert (rating.annotator_id, rating.id) == (ann.user.id, rating_id)
    assert studio.queue(ann).progress == Progress(n_done=1, n_total=N_CLIPS)


def test_undo_opens_a_clip_again_and_the_next_rating_counts(make_studio):
    studio = make_studio()
    ann, labelling = studio.annotators[0], studio.workbench.labelling
    task = studio.rate_next(ann, "angry")
    labelling.undo(studio.project.id, task.assignment.id, uuid4(), annotator=ann)
    assert labelling.counted(studio.project.id, reader=ann.reader).ratings == {}
    assert clips_of(studio.queue(ann, 1)) == [task.recording.id]
    studio.rate(ann, task.assignment.id, "calm")
    [[rating]] = labelling.counted(studio.project.id, reader=ann.reader).ratings.values()
    assert rating.label == "calm"


def test_what_is_skipped_comes_back_last(make_studio):
    studio = make_studio(n_annotators=1, n_clips=3)
    ann = studio.annotators[0]
    first, *others = clips_of(studio.queue(ann, 3))
    assignment = studio.queue(ann, 1).tasks[0].assignment
    studio.workbench.labelling.skip(studio.project.id, assignment.id, uuid4(), annotator=ann)
    assert clips_of(studio.queue(ann, 3)) == [*others, first]


def test_clip_that_somebody_left_goes_to_another_and_their_late_rating_still_counts(make_studio, monkeypatch):
    studio = make_studio(n_clips=1)
    ann, bob = studio.annotators
    left = studio.queue(ann, 1).tasks[0]
    assert studio.queue(bob, 1).tasks == []
    monkeypatch.setattr("core.labelling.state.LEASE", timedelta(0))
    assert clips_of(studio.queue(bob, 1)) == [left.recording.id]
    studio.rate(ann, left.assignment.id, "sad")
    said = studio.workbench.labelling.counted(studio.project.id, reader=ann.reader).ratings
    assert [rating.annotator_id for rating in said[left.recording.id]] == [ann.user.id]


@pytest.mark.parametrize("text", ["x" * 10_001, "a\0b", "bell \a"])
def test_instructions_that_cannot_be_kept_are_refused(make_studio, text):
    with pytest.raises(InvalidParameterError, match="instructions"):
        make_studio(n_annotators=1, n_clips=0, instructions=text)


def test_instructions_are_kept_as_they_were_written(make_studio):
    text = "Whom? Die Fr\u00e4u \u200d\n\tNot <b>the</b> dog."
    studio = make_studio(n_annotators=1, n_clips=0, instructions=text)
    ann = studio.annotators[0]
    assert studio.workbench.labelling.settings_for(studio.project.id, ann).instructions == text


@pytest.mark.parametrize("is_blind", [True, False])
def test_models_answer_stays_hidden_until_a_blind_clip_is_rated(make_studio, is_blind):
    studio = make_studio(is_blind=is_blind)
    ann = studio.annotators[0]
    hidden = studio.queue(ann).tasks
    assert [task.guess is None for task in hidden] == [is_blind] * len(hidden)
    task = studio.rate_next(ann)
    assert task.guess is not None
    assert task.rating.answer_shown == (None if is_blind else "happy")
    assert studio.queue(ann).recent[-1].guess.label == "happy"


def test_queues_are_mixed_by_their_shares(make_studio):
    studio = make_studio(n_annotators=1, n_clips=8, queues={QueueKind.UNCERTAIN: 50, QueueKind.LIKELY_WRONG: 50})
    assert len(set(clips_of(studio.queue(studio.annotators[0], 8)))) == 8


def test_diverse_queue_goes_by_where_newest_predictions_say_that_recordings_lie(make_studio):
    studio = make_studio(n_annotators=1, n_clips=4, queues={QueueKind.DIVERSE: 100})
    places = [(5, 5), (0, 0), (0, 0.5), (9, 0)]
    for recording, place in zip(studio.recordings, places, strict=True):
        for numbers in ((1, 1), place):
            sketch = Sketch(encoder="0123456789ab", numbers=np.array(numbers, "<f2").tobytes())
            insert_predictions(studio.workbench.store, predictions=[make_prediction(recording, sketch=sketch)])
    order = [studio.recordings.index(task.recording) for task in studio.queue(studio.annotators[0], 4).tasks]
    assert order == [3, 2, 0, 1]


def test_sent_back_recording_is_rated_again_by_who_rated_it(make_studio):
    studio = make_studio()
    ann, labelling = studio.annotators[0], studio.workbench.labelling
    task = studio.rate_next(ann, "angry")
    labelling.send_back(studio.project.id, task.recording.id, by=studio.owner, note="listen to the end")
    assert labelling.consensus(studio.project.id, reader=studio.owner.reader) == []
    assert clips_of(studio.queue(ann, 1)) == [task.recording.id]
    studio.rate(ann, task.assignment.id, "sad")
    [agreed] = labelling.consensus(studio.project.id, reader=studio.owner.reader)
    assert agreed.label == "sad"


def test_reviewers_see_what_people_disagree_about_first_and_decide(make_studio):
    studio = make_studio(overlap=2, n_clips=2)
    labelling = studio.workbench.labelling
    for person, labels in zip(studio.annotators, (("sad", "sad"), ("sad", "calm")), strict=True):
        tasks = sorted(studio.queue(person, 2).tasks, key=lambda task: task.recording.id)
        for task, label in zip(tasks, labels, strict=True):
            studio.rate(person, task.assignment.id, label)
    disputed, agreed = labelling.clips_for_review(studio.project.id, reader=studio.owner.reader)
    assert disputed.disagreement_nats > 0 == agreed.disagreement_nats
    assert sorted(rating.label for rating in disputed.ratings) == ["calm", "sad"]
    assert disputed.consensus.probabilities == {"calm": 0.5, "sad": 0.5}
    labelling.comment(studio.project.id, disputed.recording.id, "hard", by=studio.owner)
    labelling.adjudicate(studio.project.id, disputed.recording.id, "fearful", by=studio.owner)
    consensus = {each.recording_id: each for each in labelling.consensus(studio.project.id, reader=studio.owner.reader)}
    assert consensus[disputed.recording.id].probabilities == {"fearful": 1.0}
    assert labelling.clips_for_review(studio.project.id, reader=studio.owner.reader)[-1].recording == disputed.recording
    entries = select_audit_entries(studio.workbench.access.store, subject=str(disputed.recording.id))
    assert [entry.action for entry in entries] == ["labelling.adjudicate"]


def test_answers_are_checked_by_what_people_agree_on_newest_first(make_studio):
    studio = make_studio()
    for label in ("happy", "sad", "sad"):
        studio.rate_next(studio.annotators[0], label)
    assert studio.workbench.corrected_answers() == [False, False, True]


def test_what_is_taken_back_or_said_without_a_label_checks_no_answer(make_studio):
    studio = make_studio(n_annotators=1)
    [ann], labelling = studio.annotators, studio.workbench.labelling
    kept, undone, sent_back = (studio.rate_next(ann, label) for label in ("happy", "sad", "sad"))
    studio.rate_next(ann, None, flag=RatingFlag.CANNOT_TELL)
    labelling.undo(studio.project.id, undone.assignment.id, new_id(), annotator=ann)
    labelling.send_back(studio.project.id, sent_back.recording.id, by=studio.owner)
    assert studio.workbench.corrected_answers() == [True]
    labelling.adjudicate(studio.project.id, kept.recording.id, "angry", by=studio.owner)
    assert studio.workbench.corrected_answers() == [False]


def test_labels_that_the_model_does_not_have_leave_answers_before_them_to_be_checked(make_studio, monkeypatch):
    monkeypatch.setattr(labelling_module, "MAX_CHECKED_ANSWERS", 2)
    eight = make_studio(n_annotators=1)
    for label in ("happy", "sad", "happy"):
        eight.rate_next(eight.annotators[0], label)
    own = make_studio(n_annotators=1, labels=("bored", "keen"))
    for _ in range(3):
        own.rate_next(own.annotators[0], "keen")
    assert eight.workbench.corrected_answers() == [True, False]


def test_answers_are_checked_by_few_of_many_ratings(make_studio, monkeypatch):
    studio = make_studio(n_annotators=0, n_clips=0)
    keep_many_ratings(studio, n_recordings=20_000, n_each=5)
    n_read = []

    def counting(reads):
        def read(*args, **given):
            found = reads(*args, **given)
            n_read.append(len(found))
            return found

        return read

    for name in ("select_last_judged", "select_actions", "select_decisions", "select_clips"):
        monkeypatch.setattr(labelling_module, name, counting(getattr(labelling_module, name)))
    answers = studio.workbench.corrected_answers()
    assert answers == [True] * 100 + [False] * (labelling_module.MAX_CHECKED_ANSWERS - 100)
    assert sum(n_read) <= 7 * labelling_module.MAX_CHECKED_ANSWERS < 100_000 / 20


def keep_many_ratings(studio, *, n_recordings: int, n_each: int) -> None:
    """Each recording rated by `n_each` people, a second after the one before; the last 100 as the model said."""
    store, project_id, people = studio.workbench.store, studio.project.id, [new_id() for _ in range(n_each)]
    one = insert_recording(store, recording=make_recording(owner_id=studio.owner.user.id, project_id=project_id))
    insert_predictions(store, predictions=[make_prediction(one)])
    ids, start = [new_id() for _ in range(n_recordings)], datetime.now(UTC)
    ratings = [
        make_rating(
            "happy" if number >= n_recordings - 100 else "sad",
            project_id=project_id,
            recording_id=recording_id,
            annotator_id=person,
            rated_at=start + timedelta(seconds=number),
        )
        for number, recording_id in enumerate(ids)
        for person in people
    ]
    with store.transaction("copying a recording and its prediction") as connection:
        for table, own in ((schema.recordings, ("id", "sha256")), (schema.predictions, ("id", "recording_id"))):
            [kept] = connection.execute(select(table).where(table.c.project_id == project_id)).mappings()
            rows = [dict(kept) | dict.fromkeys(own, recording_id) for recording_id in ids]
            if "sha256" in own:
                rows = [row | {"sha256": row["id"].hex} for row in rows]
            store.append_within(connection, (table, rows))
    insert_imported(store, places=[], ratings=ratings)


def test_segments_and_flags_are_kept_as_they_were_given(make_studio):
    studio = make_studio()
    ann = studio.annotators[0]
    segments = (RatedSegment(start_s=0.0, end_s=1.25, label="sad"), RatedSegment(start_s=1.25, end_s=5.0, label="calm"))
    cut = studio.rate(ann, studio.queue(ann, 1).tasks[0].assignment.id, None, segments=segments)
    bad = studio.rate(ann, studio.queue(ann, 1).tasks[0].assignment.id, None, flag=RatingFlag.BAD_AUDIO)
    said = studio.workbench.labelling.counted(studio.project.id, reader=ann.reader).ratings
    assert said[cut.recording.id][0].segments == segments
    assert said[bad.recording.id][0].flag is RatingFlag.BAD_AUDIO


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"label": "sarcastic"}, "label"),
        ({"label": None}, "label, flag or segments"),
        ({"flag": RatingFlag.CANNOT_TELL}, "label, flag or segments"),
        ({"second": "sarcastic"}, "second"),
        ({"intensity": 4}, "intensity"),
        ({"note": "x" * 1001}, "note"),
        ({"spent_s": -1.0}, "spent_s"),
        ({"label": None, "segments": (RatedSegment(start_s=2.0, end_s=1.0, label="sad"),)}, "start before its end"),
        ({"label": None, "segments": (RatedSegment(start_s=2.0, end_s=5.03, label="sad"),)}, "2 to 5.03 s; .* the 5 s"),
        ({"label": None, "segments": (RatedSegment(start_s=5.0, end_s=5.01, label="sad"),)}, "from 5 to 5.01 s"),
        ({"label": None, "segments": (RatedSegment(start_s=math.nan, end_s=1.0, label="sad"),)}, "from nan to 1 s"),
    ],
)
def test_rating_out_of_place_is_refused_and_says_why(make_studio, given, word):
    studio = make_studio(n_annotators=1, n_clips=1)
    ann = studio.annotators[0]
    assignment = studio.queue(ann, 1).tasks[0].assignment
    with pytest.raises(InvalidParameterError, match=word):
        studio.workbench.labelling.rate(studio.project.id, assignment.id, make_rating(**given), annotator=ann)
    assert studio.workbench.labelling.counted(studio.project.id, reader=ann.reader).ratings == {}


def test_every_segment_outside_the_recording_is_named_and_one_a_frame_too_long_is_cut(make_studio):
    studio = make_studio(n_annotators=1, n_clips=1)
    ann = studio.annotators[0]
    assignment = studio.queue(ann, 1).tasks[0].assignment

    def rate(*bounds):
        segments = tuple(RatedSegment(start_s=start, end_s=end, label="sad") for start, end in bounds)
        return studio.rate(ann, assignment.id, None, segments=segments)

    with pytest.raises(InvalidParameterError) as refused:
        rate((0.0, 1.0), (4.0, 9.0), (2.0, 3.0), (3.5, 3.0))
    assert "from 4 to 9 s (number 2); from 3.5 to 3 s (number 4)" in str(refused.value)
    with pytest.raises(InvalidParameterError, match="; 5 more; it must"):
        rate(*[(6.0, 7.0)] * 15)
    assert rate((1.0, 5.015)).rating.segments[0].end_s == studio.recordings[0].duration_s == 5.0


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"labels": ("sad",)}, "labels"),
        ({"labels": ("sad", "sad")}, "each once"),
        ({"labels": ("sad", " ")}, "printable"),
        ({"overlap": 0}, "overlap"),
        ({"annotators": (uuid4(),)}, "members"),
        ({"queues": {QueueKind.RANDOM: 50}}, "100"),
        ({"gold": {uuid4(): "sarcastic"}}, "gold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_out_of_place_are_refused_and_say_why(make_studio, given, word):
    studio = make_studio(n_annotators=1, n_clips=0)
    with pytest.raises(InvalidParameterError, match=word):
        studio.workbench.labelling.configure(studio.project.id, LabellingSettings(**given), by=studio.owner)


def test_strangers_members_and_others_annotators_are_kept_out(make_studio, workbench):
    studio, other = make_studio(n_annotators=1), make_studio(n_annotators=1)
    stranger, member = make_caller(workbench, Role.ANNOTATOR), make_caller(workbench, Role.ANALYST)
    workbench.projects.add_member(studio.project.id, member.user.email, by=studio.owner)
    member = again(workbench, member)
    with pytest.raises(UnknownProjectError):
        studio.queue(stranger)
    with pytest.raises(ForbiddenError, match="no annotator"):
        studio.queue(member)
    mine = studio.queue(studio.annotators[0], 1).tasks[0]
    with pytest.raises(UnknownProjectError):
        studio.rate(other.annotators[0], mine.assignment.id)
    with pytest.raises(UnknownAssignmentError):
        studio.rate(studio.annotators[0], other.queue(other.annotators[0], 1).tasks[0].assignment.id)
    for by in (member, studio.annotators[0]):
        with pytest.raises(ForbiddenError, match="owner"):
            workbench.labelling.adjudicate(studio.project.id, mine.recording.id, "sad", by=by)
    with pytest.raises(UnknownRecordingError):
        workbench.labelling.adjudicate(studio.project.id, other.recordings[0].id, "sad", by=studio.owner)


def test_project_that_nobody_set_up_says_so(workbench):
    from core.domain import Purpose

    owner = make_caller(workbench, Role.ANALYST)
    project = workbench.projects.create("Bare", Purpose.RESEARCH, by=owner)
    owner = again(workbench, owner)
    with pytest.raises(NotLabelledError, match="Bare"):
        workbench.labelling.queue(project.id, annotator=owner, n=1)
    assert workbench.labelling.projects(owner.reader) == []


def test_deleting_a_recording_deletes_what_people_said_of_it(make_studio):
    studio = make_studio()
    task = studio.rate_next(studio.annotators[0])
    studio.workbench.labelling.comment(studio.project.id, task.recording.id, "hm", by=studio.owner)
    studio.workbench.delete_recording(task.recording.id, reader=studio.owner.reader)
    counted = studio.workbench.labelling.counted(studio.project.id, reader=studio.owner.reader)
    assert counted.ratings == counted.decisions == {}
    with pytest.raises(UnknownAssignmentError):
        studio.rate(studio.annotators[0], task.assignment.id)


@pytest.mark.parametrize("method", Method)
def test_consensus_of_several_ratings(make_studio, method):
    studio = make_studio(overlap=2, n_clips=3)
    for person in studio.annotators:
        for task in studio.queue(person, 3).tasks:
            studio.rate(person, task.assignment.id, "sad" if task.recording.id == studio.recordings[0].id else "calm")
    agreed = studio.workbench.labelling.consensus(studio.project.id, reader=studio.owner.reader, method=method)
    assert {each.recording_id: each.label for each in agreed} == {
        recording.id: "sad" if number == 0 else "calm" for number, recording in enumerate(studio.recordings)
    }


def test_progress_is_counted_on_from_the_last_queue_and_not_read_at_each_rating(make_studio, monkeypatch):
    studio = make_studio(n_annotators=1)
    ann, labelling = studio.annotators[0], studio.workbench.labelling
    first, second, *_ = studio.queue(ann).tasks

    def n_done():
        return labelling.progress_of(studio.project.id, annotator=ann).n_done

    with monkeypatch.context() as patch:
        patch.setattr("core.labelling.labelling.State", None)  # whoever reads the ledgers fails
        rating = make_rating()
        labelling.rate(studio.project.id, first.assignment.id, rating, annotator=ann)
        labelling.rate(studio.project.id, first.assignment.id, rating, annotator=ann)
        assert n_done() == 1, "the same one sent twice"
        studio.rate(ann, first.assignment.id, "calm")
        assert n_done() == 1, "another label for the same clip"
        labelling.skip(studio.project.id, second.assignment.id, new_id(), annotator=ann)
        assert n_done() == 1
        labelling.undo(studio.project.id, first.assignment.id, new_id(), annotator=ann)
        assert n_done() == 0
        studio.rate(ann, first.assignment.id)
        studio.rate(ann, second.assignment.id)
        assert labelling.progress_of(studio.project.id, annotator=ann) == Progress(n_done=2, n_total=6)
        labelling.send_back(studio.project.id, first.recording.id, by=studio.owner)
        with pytest.raises(TypeError):
            n_done()
    assert n_done() == 1
    monkeypatch.setattr("core.labelling.labelling.PROGRESS_KEPT_S", 0.0)
    monkeypatch.setattr("core.labelling.labelling.State", None)
    with pytest.raises(TypeError):
        n_done()


def test_progress_read_while_a_rating_arrives_is_not_counted_on_from(make_studio, monkeypatch):
    studio = make_studio(n_annotators=1)
    ann = studio.annotators[0]
    first, second, *_ = studio.queue(ann).tasks
    read = labelling_module.State.progress

    def rated_meanwhile(state, annotator):
        progress = read(state, annotator)
        studio.rate(ann, first.assignment.id)
        return progress

    with monkeypatch.context() as patch:
        patch.setattr(labelling_module.State, "progress", rated_meanwhile)
        studio.queue(ann)
    assert studio.workbench.labelling.progress_of(studio.project.id, annotator=ann).n_done == 1
    insert = labelling_module.insert_action

    def read_meanwhile(*given, **named):
        is_new = insert(*given, **named)
        studio.queue(ann)
        return is_new

    with monkeypatch.context() as patch:
        patch.setattr(labelling_module, "insert_action", read_meanwhile)
        studio.rate(ann, second.assignment.id)
    assert studio.workbench.labelling.progress_of(studio.project.id, annotator=ann).n_done == 2


def later(monkeypatch, **ahead):
    """Have labelling think that so much time has passed."""

    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + timedelta(**ahead)

    monkeypatch.setattr(labelling_module, "datetime", Clock)


def test_clips_given_by_hand_wait_for_whom_they_were_given_to(make_studio, monkeypatch):
    studio = make_studio(n_annotators=2, overlap=1)
    ann, ben = studio.annotators
    labelling, chosen = studio.workbench.labelling, [recording.id for recording in studio.recordings[3:5]]
    handout = labelling.assign(studio.project.id, chosen, [ben.user.id], by=studio.owner)
    assert [(each.recording_id, each.annotator_id) for each in handout.given] == [(one, ben.user.id) for one in chosen]
    assert handout.refused == []
    assert clips_of(studio.queue(ben, 2)) == chosen, "before any that a queue chooses"
    later(monkeypatch, hours=3)
    assert not set(clips_of(studio.queue(ann, N_CLIPS))) & set(chosen)
    places = {each.recording.id: each for each in labelling.places(studio.project.id, reader=studio.owner.reader)}
    assert [(holder.annotator_id, holder.is_by_hand) for holder in places[chosen[0]].holders] == [(ben.user.id, True)]
    assert places[chosen[0]].n_free == 0
    later(monkeypatch, days=15)
    assert set(chosen) <= set(clips_of(studio.queue(ann, N_CLIPS)))
    entries = select_audit_entries(studio.workbench.access.store, limit=5)
    assert [each.subject for each in entries if each.action == "labelling.assign"] == [str(studio.project.id)]


def test_by_hand_nobody_gets_a_clip_twice_and_no_more_people_than_the_overlap_says(make_studio):
    studio = make_studio(n_annotators=4, overlap=2)
    ann, ben, cem, dan = (person.user.id for person in studio.annotators)
    first, second = (recording.id for recording in studio.recordings[:2])

    def assign(clips, people, **given):
        handout = studio.workbench.labelling.assign(studio.project.id, clips, people, by=studio.owner, **given)
        refused = {(each.recording_id, each.annotator_id): each.reason for each in handout.refused}
        return {(each.recording_id, each.annotator_id) for each in handout.given}, refused

    assert assign([first], [ann, ann]) == ({(first, ann)}, {})
    given, refused = assign([first, second], [ann, ben, cem])
    assert given == {(first, ben), (second, ann), (second, ben)}
    assert refused == {(first, ann): "theirs", (first, cem): "taken", (second, cem): "taken"}
    bens = {each.recording.id: each.assignment for each in studio.queue(studio.annotators[1]).tasks}
    studio.rate(studio.annotators[1], bens[first].id)
    given, refused = assign([first], [cem, dan], takes_over=True)
    assert given == {(first, cem)}, "from who had not rated it, and not from who was just given it"
    assert refused == {(first, dan): "taken"}
    assert first not in clips_of(studio.queue(studio.annotators[0], N_CLIPS))
    assert assign([first], [ann], takes_over=True)[1] == {(first, ann): "theirs"}
    places = studio.workbench.labelling.places(studio.project.id, reader=studio.owner.reader)
    assert {(each.annotator_id, each.is_rated) for each in places[0].holders} == {(ben, True), (cem, False)}


def test_what_an_annotator_who_left_was_given_by_hand_is_free(make_studio):
    studio = make_studio(n_annotators=2, overlap=1)
    ann, ben = studio.annotators
    labelling, chosen = studio.workbench.labelling, [recording.id for recording in studio.recordings]
    labelling.assign(studio.project.id, chosen, [ben.user.id], by=studio.owner)
    assert clips_of(studio.queue(ann, N_CLIPS)) == []
    labelling.configure(studio.project.id, LabellingSettings(annotators=(ann.user.id,)), by=studio.owner)
    assert len(clips_of(studio.queue(ann, N_CLIPS))) == N_CLIPS


def test_only_the_owner_gives_clips_and_only_to_annotators(make_studio, monkeypatch):
    studio = make_studio(n_annotators=2)
    ann, labelling, first = studio.annotators[0], studio.workbench.labelling, studio.recordings[0].id
    with pytest.raises(ForbiddenError, match="owner"):
        labelling.assign(studio.project.id, [first], [ann.user.id], by=ann)
    with pytest.raises(InvalidParameterError, match="annotators of the project"):
        labelling.assign(studio.project.id, [first], [studio.owner.user.id], by=studio.owner)
    with pytest.raises(UnknownRecordingError):
        labelling.assign(studio.project.id, [first, uuid4()], [ann.user.id], by=studio.owner)
    monkeypatch.setattr(labelling_module, "MAX_GIVEN", 1)
    people = [each.user.id for each in studio.annotators]
    with pytest.raises(InvalidParameterError, match="at most 1"):
        labelling.assign(studio.project.id, [first], people, by=studio.owner)
    places = labelling.places(studio.project.id, reader=studio.owner.reader)
    assert [len(each.holders) for each in places] == [0] * N_CLIPS, "nothing was given"


def test_segments_come_to_a_consensus_and_a_reviewer_decides_what_is_contested(make_studio):
    studio = make_studio(n_annotators=2, overlap=2, n_clips=2)
    first, second = (recording.id for recording in studio.recordings)
    drawn = [((0.0, 1.0, "sad"), (1.0, 2.0, "calm")), ((0.0, 1.5, "sad"), (1.5, 2.0, "calm"))]
    for person, stretches in zip(studio.annotators, drawn, strict=True):
        tasks = {task.recording.id: task.assignment.id for task in studio.queue(person).tasks}
        segments = tuple(RatedSegment(start_s=start, end_s=end, label=label) for start, end, label in stretches)
        studio.rate(person, tasks[first], None, segments=segments)
        studio.rate(person, tasks[second], "sad")
    labelling = studio.workbench.labelling

    def reviewed():
        clips = labelling.clips_for_review(studio.project.id, reader=studio.owner.reader)
        return {clip.recording.id: clip for clip in clips}

    def said():
        return [(each.start_s, each.end_s, each.label) for each in reviewed()[first].segments]

    def decide(**given):
        values = {"start_s": 1.0, "end_s": 1.5, "label": "calm", "by": studio.owner} | given
        return labelling.adjudicate_segment(studio.project.id, first, **values)

    assert next(iter(reviewed())) == first, "what is contested comes first"
    assert said() == [(0.0, 1.0, "sad"), (1.0, 1.5, None), (1.5, 2.0, "calm")]
    assert reviewed()[first].time_agreement == pytest.approx(0.75)
    assert reviewed()[first].boundary_agreement == pytest.approx(2 / 3)
    assert reviewed()[second].segments == []
    decide()
    assert said() == [(0.0, 1.0, "sad"), (1.0, 1.5, "calm"), (1.5, 2.0, "calm")]
    assert not reviewed()[first].is_contested
    assert reviewed()[first].consensus is None, "no label of the whole recording"
    labelling.adjudicate(studio.project.id, second, "sad", by=studio.owner)
    labelling.adjudicate_segment(
        studio.project.id, second, start_s=0.0, end_s=1.0, label="calm", by=studio.owner, note="at first"
    )
    assert reviewed()[second].consensus.adjudicated_by == studio.owner.user.id, "a stretch takes nothing back"
    entries = select_audit_entries(studio.workbench.access.store, limit=9)
    assert [each.subject for each in entries if each.action == "labelling.adjudicate_segment"][-1] == str(first)
    for given, word in (
        ({"label": "sarcastic"}, "label"),
        ({"start_s": -0.1}, "within"),
        ({"end_s": 1.05}, "0.1 s or more"),
        ({"end_s": 1e5}, "within"),
    ):
        with pytest.raises(InvalidParameterError, match=word):
            decide(**given)
    with pytest.raises(ForbiddenError, match="owner"):
        decide(by=studio.annotators[0])
    labelling.send_back(studio.project.id, first, by=studio.owner)
    assert said() == []
