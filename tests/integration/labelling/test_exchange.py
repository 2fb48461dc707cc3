"""Ratings out of a project and into it, over a workbench with each database."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from core.access.roles import ROLE_SCOPES
from core.accounts import delete_account, write_account_export
from core.config import Settings
from core.domain import LabellingSettings, Purpose, RatedSegment, Rating, Role
from core.errors import ForbiddenError, LabelsFileError, NotLabelledError, UnknownProjectError
from core.identifiers import new_id
from core.labelling.exchange import export_ratings, import_ratings
from core.labelling.formats.kinds import LabelFormat
from core.store.audit import select_audit_entries
from core.store.labelling import select_assignments
from core.store.recordings import insert_recording
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.callers import key_header
from tests.factories import make_recording
from tests.prepared_stores import prepared

NAMES = ("first.wav", "day 1/second.wav", "same.wav", "same.mp3")


@pytest.fixture
def workbench(tmp_path, store_url):
    url = store_url if store_url.startswith("postgresql") else ""
    opened = open_workbench(Settings(data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny", store_url=url))
    yield opened
    opened.close()


def make_caller(workbench, role, user=None):
    """Somebody new in `role`, or `user` as they are now."""
    given = key_header(workbench, role=role, scopes=ROLE_SCOPES[role], user=user)
    return workbench.access.caller_of_key(given["X-API-Key"])


@pytest.fixture
def people(workbench):
    """The owner of a project, and two who rate in it."""

    owner, ann, bob = (make_caller(workbench, role) for role in (Role.ANALYST, Role.ANNOTATOR, Role.ANNOTATOR))
    project = workbench.projects.create("Our voices", Purpose.RESEARCH, by=owner)
    for person in (ann, bob):
        workbench.projects.add_member(project.id, person.user.email, by=owner)
    return [make_caller(workbench, person.user.role, person.user) for person in (owner, ann, bob)]


@pytest.fixture
def project(workbench, people):
    return workbench.projects.list_for(people[0].reader)[0]


@pytest.fixture
def recordings(workbench, people, project):
    owner = people[0].user.id
    given = [make_recording(name=name, owner_id=owner, project_id=project.id, duration_s=5.0) for name in NAMES]
    kept = [insert_recording(workbench.store, recording=each) for each in given]
    annotators = tuple(person.user.id for person in people[1:])
    settings = LabellingSettings(annotators=annotators, overlap=2)
    workbench.labelling.configure(project.id, settings, by=people[0])
    return kept


def rate(workbench, project, annotator, label="sad", **given):
    [task, *_] = workbench.labelling.queue(project.id, annotator=annotator, n=1).tasks
    rating = Rating(
        id=new_id(),
        project_id=project.id,
        recording_id=task.recording.id,
        annotator_id=annotator.user.id,
        label=label,
        rated_at=datetime.now(UTC),
        **given,
    )
    return workbench.labelling.rate(project.id, task.assignment.id, rating, annotator=annotator).rating


def counted(workbench, project, by):
    found = workbench.labelling.counted(project.id, reader=by.reader).ratings
    return {(each.recording_id, each.annotator_id): each for some in found.values() for each in some}


def importing(workbench, project, by, text, format=LabelFormat.CSV, name="ratings"):
    return import_ratings(workbench, project.id, text.encode(), name=name, format=format, by=by)


def test_project_goes_out_and_comes_back_in_every_format(workbench, people, project, recordings):
    owner, ann, bob = people
    rate(workbench, project, ann, "angry")
    rate(workbench, project, ann, None, segments=(RatedSegment(start_s=0.5, end_s=2.0, label="calm"),))
    rate(workbench, project, bob, "happy")

    def said():
        return {key: (each.label, each.segments) for key, each in counted(workbench, project, owner).items()}

    before = said()
    for format in LabelFormat:
        written = export_ratings(workbench, project.id, format, by=owner)
        assert written.name.startswith("Our-voices")
        again = import_ratings(workbench, project.id, written.data, name=written.name, format=format, by=owner)
        assert (again.n_new, again.n_known, again.problems) == (0, 3, [])
        for task in workbench.labelling.queue(project.id, annotator=ann, n=1).recent:
            workbench.labelling.undo(project.id, task.assignment.id, new_id(), annotator=ann)
        assert len(said()) == 1
        back = import_ratings(workbench, project.id, written.data, name=written.name, format=format, by=owner)
        assert (back.n_new, back.n_known, back.problems) == (2, 1, [])
        assert said() == before


def test_imported_ratings_fill_places_and_are_not_asked_for_again(workbench, people, project, recordings):
    owner, ann, bob = people
    lines = [f"{name},{ann.user.email.upper()},sad" for name in NAMES]
    lines += [f"{recordings[0].id},somebody else,calm"]
    text = "recording_name,annotator,label\n" + "\n".join(lines[:4])
    assert importing(workbench, project, owner, text).n_new == 4
    assert importing(workbench, project, owner, f"recording_id,annotator,label\n{lines[4]}").n_new == 1
    queue = workbench.labelling.queue(project.id, annotator=ann, n=4)
    assert (queue.tasks, queue.progress.n_done) == ([], 4)
    waiting = workbench.labelling.queue(project.id, annotator=bob, n=9).tasks
    assert {task.recording.id for task in waiting} == {each.id for each in recordings[1:]}
    slots = [
        (place.assignment.recording_id, place.assignment.slot)
        for place in select_assignments(workbench.store, project_id=project.id)
    ]
    assert len(slots) == len(set(slots)) == 8


def test_strangers_get_an_id_that_stays_theirs_and_accounts_cannot_be_claimed(workbench, people, project, recordings):
    owner, ann, _ = people
    header = "recording_name,annotator,label\n"
    assert importing(workbench, project, owner, f"{header}first.wav,Cat,sad\nsecond.wav, cat ,sad\n").n_new == 2
    assert importing(workbench, project, owner, f"{header}first.wav,CAT,calm\n").n_known == 1
    [cat] = {key[1] for key in counted(workbench, project, owner)}
    assert cat not in {person.user.id for person in people}
    assert importing(workbench, project, owner, f"{header}first.wav,{ann.user.id},calm\nfirst.wav,,sad").n_new == 2
    everybody = {key[1] for key in counted(workbench, project, owner)}
    assert ann.user.id not in everybody
    assert owner.user.id in everybody
    outsider = workbench.access.create_user("out@example.org", "Out", Role.ANALYST, "enterprise", by=None)
    importing(workbench, project, owner, f"{header}first.wav,{outsider.email},calm\n")
    assert outsider.id not in {key[1] for key in counted(workbench, project, owner)}


def test_lines_that_do_not_fit_are_told_and_the_others_kept(workbench, people, project, recordings):
    text = (
        "recording_name,label,intensity,start_s,end_s\nfirst.wav,sad,2,,\nnowhere.wav,sad,,,\nsame.wav,calm,,,\n"
        "same,sad,,,\nsecond.wav,gloomy,,,\nsecond.wav,sad,4,,\nsecond.wav,sad,,3,2\nfirst.wav,calm,,,\n"
    )
    done = importing(workbench, project, people[0], text)
    assert (done.n_new, done.n_known) == (2, 1)
    assert [(each.where.split()[-1], each.sentence.split(":")[0][:40]) for each in done.problems] == [
        ("3", "There is no recording 'nowhere.wav' in t"),
        ("5", "2 recordings are called 'same'"),
        ("6", "The parameter 'label' is 'gloomy'; it mu"),
        ("7", "The parameter 'intensity' is 4; it must "),
        ("8", "The parameter 'segments' is from 3 to 2 "),
    ]


def test_segments_outside_their_recording_are_told_by_line_and_only_their_rating_is_left_out(
    workbench, people, project, recordings
):
    text = (
        "recording_name,annotator,label,start_s,end_s\nfirst.wav,Cat,sad,0,1\nfirst.wav,Cat,calm,4,8\n"
        "first.wav,Cat,sad,3,2\nsecond.wav,Cat,sad,0,1\nsecond.wav,Cat,calm,4,5.004\n"
    )
    done = importing(workbench, project, people[0], text)
    assert (done.n_new, done.n_known) == (1, 0)
    assert [each.where for each in done.problems] == ["ratings, line 3", "ratings, line 4"]
    assert done.problems[0].sentence == (
        "The parameter 'segments' is from 4 to 8 s; it must be a start before its end, both within the 5 s of the "
        "recording. The rating with it is left out."
    )
    [kept] = counted(workbench, project, people[0]).values()
    assert (kept.recording_id, [each.end_s for each in kept.segments]) == (recordings[1].id, [1.0, 5.0])
    whole = importing(
        workbench, project, people[0], "0.0\t8.0\tcalm\n0.5\t1.0\tsad\n", LabelFormat.AUDACITY, "first.txt"
    )
    assert (whole.n_new, [each.where for each in whole.problems]) == (0, ["first.txt, line 1"])


def test_only_the_owner_and_admins_send_ratings_in_or_out_and_it_is_noted(workbench, people, project, recordings):
    owner, ann, _ = people
    stranger = make_caller(workbench, Role.ANALYST)
    for by, refusal in ((ann, ForbiddenError), (stranger, UnknownProjectError)):
        with pytest.raises(refusal):
            export_ratings(workbench, project.id, LabelFormat.CSV, by=by)
        with pytest.raises(refusal):
            importing(workbench, project, by, "recording_name,label\nfirst.wav,sad\n")
    importing(workbench, project, owner, "recording_name,label\nfirst.wav,sad\n")
    export_ratings(workbench, project.id, LabelFormat.ELAN, by=owner)
    actions = [each.action for each in select_audit_entries(workbench.access.store, subject=str(project.id))]
    assert {"labelling.import", "labelling.export"} <= set(actions)
    with pytest.raises(LabelsFileError):
        import_ratings(workbench, project.id, b"PK\x03\x04", name="x.zip", format=LabelFormat.ELAN, by=owner)
    bare = workbench.projects.create("Bare", Purpose.RESEARCH, by=owner)
    with pytest.raises(NotLabelledError):
        import_ratings(
            workbench,
            bare.id,
            b"",
            name="x",
            format=LabelFormat.CSV,
            by=make_caller(workbench, Role.ANALYST, owner.user),
        )


def test_what_is_imported_from_before_a_clip_was_sent_back_does_not_count(workbench, people, project, recordings):
    owner = people[0]
    workbench.labelling.send_back(project.id, recordings[0].id, by=owner)
    before = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    importing(workbench, project, owner, f"recording_name,label,rated_at\nfirst.wav,sad,{before}\n")
    assert counted(workbench, project, owner) == {}


def test_account_takes_its_ratings_along_and_leaves_labels_without_words(workbench, people, project, recordings):
    owner, ann, _ = people
    rated = rate(workbench, project, ann, "sad", note="my aunt")
    workbench.labelling.comment(project.id, recordings[0].id, "sounds like me", by=owner)
    exported = {}
    for person in (owner, ann):
        file = io.BytesIO()
        write_account_export(workbench, person.user.id, file)
        exported[person] = json.loads(zipfile.ZipFile(file).read("ratings.json"))
    [mine] = exported[ann]["ratings"]
    assert (mine["rating"]["id"], mine["rating"]["note"]) == (str(rated.id), "my aunt")
    assert [each["note"] for each in exported[owner]["decisions"]] == ["sounds like me"]

    delete_account(workbench, ann.user.id, by=ann)
    [kept] = counted(workbench, project, owner).values()
    assert (kept.label, kept.note) == ("sad", "")
    out = export_ratings(workbench, project.id, LabelFormat.CSV, by=owner).data.decode()
    assert ann.user.email not in out
    assert str(ann.user.id) in out
