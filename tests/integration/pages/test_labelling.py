"""Annotate, Review and Labelling: what they say to whom, and what becomes of what is pressed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.domain import DecisionKind, Emotion, Purpose, QueueKind, RatedSegment, Role
from core.labelling.consensus import Method
from core.labelling.exchange import export_ratings
from core.labelling.formats.kinds import LabelFormat
from core.labelling.labelling import Shown
from tests.callers import make_user
from tests.labelling_projects import caller_of, make_labelled, make_rating, rate_all


def text_of(app) -> str:
    shown = [*app.markdown, *app.text, *app.error, *app.warning, *app.info, *app.success, *app.caption, *app.subheader]
    return "\n".join(each.value for each in shown)


def widget_of(app, name: str = "telepathy_labeller") -> dict:
    """What the annotating widget, or another one, was told."""
    [widget] = [each for each in app.get("bidi_component") if each.proto.component_name == name]
    return json.loads(widget.proto.json)


@pytest.fixture
def labelled(workbench):
    return make_labelled(workbench, n_clips=4, n_annotators=2, overlap=2)


def test_annotator_of_no_project_is_told_what_to_do(open_page, sign_in):
    sign_in(Role.ANNOTATOR)
    app = open_page("annotate")
    assert "makes you an annotator" in text_of(app)
    assert not app.get("page_link"), "an annotator sets nothing up"
    sign_in(Role.ANALYST)
    assert [link.label for link in open_page("annotate").get("page_link")] == ["Set up a project to be labelled"]


def test_annotate_gives_the_widget_labels_and_no_answer(open_page, sign_in, labelled):
    sign_in(Role.ANNOTATOR, labelled.annotators[0].user)
    app = open_page("annotate")
    assert not app.exception
    told = widget_of(app)
    assert told["address"] == f"/api/v1/labelling/{labelled.project.id}"
    assert [label["name"] for label in told["labels"]] == [emotion.value for emotion in Emotion]
    assert told["asks"] == {"second": True, "intensity": True, "note": True}
    assert "guess" not in json.dumps(told)
    assert "stays hidden from you until you have rated" in text_of(app)


def test_annotator_of_two_projects_chooses(open_page, sign_in, workbench, labelled):
    annotator = labelled.annotators[0].user
    other = make_labelled(workbench, n_clips=1, n_annotators=0, labels=("pleased", "angry"))
    workbench.projects.add_member(other.project.id, annotator.email, by=other.owner)
    settings = workbench.labelling.settings(other.project.id, other.owner.reader)
    sign_in(Role.ANNOTATOR, annotator)
    assert not open_page("annotate").selectbox
    workbench.labelling.configure(other.project.id, replace(settings, annotators=(annotator.id,)), by=other.owner)
    app = open_page("annotate")
    app.selectbox(key="annotate_project").set_value(other.project.id).run()
    assert [label["name"] for label in widget_of(app)["labels"]] == ["pleased", "angry"]


def test_review_shows_disagreement_first_and_takes_a_decision(open_page, sign_in, workbench, labelled):
    ann, ben = labelled.annotators
    rate_all(workbench, labelled, ann, ["happy", "sad", "sad", "sad"])
    rate_all(workbench, labelled, ben, ["angry", "sad", "sad", "sad"])
    sign_in(Role.ANALYST, labelled.owner.user)
    app = open_page("review")
    assert not app.exception
    assert "1 of 4 rated clips" in text_of(app)
    table = app.dataframe[0].value
    assert table["Recording"].tolist() == ["clip 00.wav"]
    assert table["State"].tolist() == ["people disagree"]
    text = text_of(app)
    assert ann.user.email in text
    assert "▲ happy" in text
    assert "✕ angry" in text
    recording = labelled.recordings[0]
    heard = widget_of(app, "telepathy_listener")
    assert (heard["recording_id"], heard["duration_s"]) == (str(recording.id), recording.duration_s)
    app.pills(key=f"review_{recording.id}_0_label").set_value("angry")
    app.text_area(key=f"review_{recording.id}_0_note").set_value("Listen to the *end*").run()
    keys = {key: app.button(key=f"review_{recording.id}_0_{key}").proto.shortcut for key in ("decide", "send_back")}
    assert keys == {"decide": "d", "send_back": "b"}
    app.button(key=f"review_{recording.id}_0_decide").click().run()
    assert "No clip of this kind is left" in text_of(app)
    agreed = {each.recording_id: each for each in workbench.labelling.consensus(labelled.project.id, reader=ann.reader)}
    assert (agreed[recording.id].label, agreed[recording.id].method) == ("angry", "adjudicated")
    app.segmented_control(key="review_shown").set_value(Shown.DECIDED).run()
    assert "decided angry" in text_of(app)
    assert "Listen to the \\*end\\*" in text_of(app)


def ids_of(app, *labels):
    return {each.proto.id for each in app.button if each.label in labels}


def test_reviewer_comments_and_sends_back(open_page, sign_in, workbench, labelled):
    ann = labelled.annotators[0]
    rate_all(workbench, labelled, ann, ["happy", None])
    sign_in(Role.ANALYST, labelled.owner.user)
    app = open_page("review")
    assert app.dataframe[0].value["State"].tolist() == ["somebody could not tell"] * 2
    recording = labelled.recordings[1]
    assert app.button(key=f"review_{recording.id}_0_comment").disabled
    app.text_area(key=f"review_{recording.id}_0_note").set_value("Too short?").run()
    app.button(key=f"review_{recording.id}_0_comment").click().run()
    assert "Too short?" in text_of(app)
    assert app.text_area(key=f"review_{recording.id}_1_note").value == ""
    of_this_clip = ids_of(app, "Decide", "Send back")
    app.button(key=f"review_{recording.id}_1_send_back").click().run()
    of_the_next = ids_of(app, "Decide", "Send back")
    assert len(of_the_next) == 2
    assert not of_the_next & of_this_clip, "a key pressed twice would act on a clip that nobody heard"
    counted = workbench.labelling.counted(labelled.project.id, reader=ann.reader)
    assert recording.id not in counted.ratings
    kinds = [decision.kind for decision in counted.decisions[recording.id]]
    assert kinds == [DecisionKind.COMMENT, DecisionKind.SEND_BACK]


def test_only_the_owner_decides(open_page, sign_in, workbench, labelled):
    rate_all(workbench, labelled, labelled.annotators[0], [None])
    member = make_user(workbench, Role.ANALYST)
    workbench.projects.add_member(labelled.project.id, member.email, by=labelled.owner)
    sign_in(Role.ANALYST, member)
    app = open_page("review")
    assert "Only the owner of a project and admins decide." in text_of(app)
    assert not [each for each in app.button if each.label == "Decide"]
    app = open_page("labelling")
    app.segmented_control(key="labelling_part").set_value("Set up").run()
    assert "Only the owner of a project and admins set up" in text_of(app)
    app.segmented_control(key="labelling_part").set_value("Give out").run()
    assert "Only the owner of a project and admins give clips out" in text_of(app)


WARNED = "<b>Whom?</b> The *loudest* voice :red[only] $x$"
"""Nothing of it is to be taken for HTML or Markdown."""


def test_a_project_is_set_up_changed_and_keeps_what_was_chosen(open_page, sign_in, workbench):
    owner = make_user(workbench, Role.ANALYST)
    project = workbench.projects.create("Calls", Purpose.RESEARCH, by=caller_of(workbench, owner))
    sign_in(Role.ANALYST, owner)
    app = open_page("labelling")
    assert not app.exception
    key = f"labelling_{project.id}"
    app.segmented_control(key=f"{key}_which").set_value("My own").run()
    assert app.button(key=f"{key}_save").disabled, "no label yet"
    app.text_input(key=f"{key}_labels").set_value("pleased, angry , neither")
    app.number_input(key=f"{key}_queue_random").set_value(50).run()
    assert "These add up to 50 %" in text_of(app)
    app.number_input(key=f"{key}_queue_uncertain").set_value(50)
    app.number_input(key=f"{key}_overlap").set_value(3)
    app.text_area(key=f"{key}_instructions").set_value(f"{WARNED}\n\nListen twice. \n")
    app.toggle(key=f"{key}_blind").set_value(False).run()
    app.button(key=f"{key}_save").click().run()
    assert not app.exception
    kept = workbench.labelling.settings(project.id, caller_of(workbench, owner).reader)
    assert kept.labels == ("pleased", "angry", "neither")
    assert kept.queues == {QueueKind.RANDOM: 50, QueueKind.UNCERTAIN: 50}
    assert (kept.overlap, kept.is_blind, kept.annotators) == (3, False, (owner.id,))
    assert kept.instructions == f"{WARNED}\n\nListen twice."
    assert "This project has no recordings yet" in text_of(app)
    app.segmented_control(key="labelling_part").set_value("Set up").run()
    assert app.text_input(key=f"{key}_labels").value == "pleased, angry, neither"
    app.text_input(key=f"{key}_labels").set_value("only one").run()
    app.button(key=f"{key}_save").click().run()
    assert "2 to 9 labels" in text_of(app)
    app = open_page("annotate")
    assert "stays hidden" not in text_of(app), "the project is not blind"
    assert [each.label for each in app.expander] == ["Instructions"]
    assert [each.value for each in app.expander[0].text] == [f"{WARNED}\n\nListen twice."]


def test_progress_and_agreement_follow_the_ratings(open_page, sign_in, workbench, labelled):
    ann, ben = labelled.annotators
    sign_in(Role.ANALYST, labelled.owner.user)
    app = open_page("labelling")
    app.segmented_control(key="labelling_part").set_value("Agreement").run()
    assert "Nobody has rated a clip yet" in text_of(app)
    rate_all(workbench, labelled, ann, ["happy", "sad", "sad", "happy"])
    app.run()
    assert "No clip has been rated by two people yet" in text_of(app)
    rate_all(workbench, labelled, ben, ["happy", "sad", "angry", "happy"])
    app.run()
    assert not app.exception
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["Equal pairs"] == "75\xa0%"
    assert figures["Clips rated"] == figures["By two or more"] == "4"
    by_label, people = (each.value for each in app.dataframe)
    assert dict(zip(by_label["Label"], by_label["Agreement"], strict=True))["▲ happy"] == 100
    assert people["Rated"].tolist() == [4, 4]
    app.segmented_control(key="labelling_method").set_value(Method.DAWID_SKENE).run()
    assert not app.exception
    app.segmented_control(key="labelling_part").set_value("Progress").run()
    assert app.dataframe[0].value["Rated"].tolist() == [4, 4]
    assert app.dataframe[0].value["Progress"].tolist() == [100, 100]


def test_ratings_go_out_and_come_back(open_page, sign_in, workbench, labelled):
    rate_all(workbench, labelled, labelled.annotators[0], ["happy", "sad"])
    sign_in(Role.ANALYST, labelled.owner.user)
    app = open_page("labelling")
    app.segmented_control(key="labelling_part").set_value("Files").run()
    assert not app.exception
    assert app.button(key="labelling_import").disabled
    data = export_ratings(workbench, labelled.project.id, LabelFormat.CSV, by=labelled.owner).data
    foreign = data.replace(labelled.annotators[0].user.email.encode(), b"somebody-else") + b"\nnonsense,line"
    app.file_uploader[0].upload("ratings.csv", foreign, "text/csv").run()
    app.button(key="labelling_import").click().run()
    assert not app.exception
    assert "4 ratings are new." in text_of(app)
    assert len(app.dataframe[0].value) == 1, "the line that could not be used is told"
    counted = workbench.labelling.counted(labelled.project.id, reader=labelled.owner.reader)
    assert [len(ratings) for ratings in counted.ratings.values()] == [2] * 4


def test_clips_are_given_out_by_hand(open_page, sign_in, workbench, labelled):
    ben = labelled.annotators[1].user
    sign_in(Role.ANALYST, labelled.owner.user)
    app = open_page("labelling")
    app.segmented_control(key="labelling_part").set_value("Give out").run()
    assert not app.exception
    assert app.button(key="labelling_give").disabled
    assert app.dataframe[0].value["Free places"].tolist() == [2] * 4
    app.text_input(key="labelling_give_find").set_value("CLIP 02").run()
    assert app.dataframe[0].value["Recording"].tolist() == ["clip 02.wav"]
    app.session_state["labelling_give_table_0_CLIP 02"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.multiselect(key=f"labelling_give_to_{labelled.project.id}").set_value([ben.id]).run()
    app.button(key="labelling_give").click().run()
    assert not app.exception
    assert "1 clip given out." in text_of(app)
    assert app.dataframe[0].value["Who has it"].tolist() == [f"{ben.email} (by hand)"]
    places = workbench.labelling.places(labelled.project.id, reader=labelled.owner.reader)
    assert [len(each.holders) for each in places] == [0, 0, 1, 0]


def test_segments_stand_side_by_side_and_a_stretch_is_decided(open_page, sign_in, workbench, labelled):
    recording = labelled.recordings[0]
    end_s = recording.duration_s
    drawn = [((0.0, 0.5, "happy"), (0.5, end_s, "sad")), ((0.0, 0.8, "happy"), (0.8, end_s, "sad"))]
    for person, stretches in zip(labelled.annotators, drawn, strict=True):
        queue = workbench.labelling.queue(labelled.project.id, annotator=person, n=4)
        [task] = [task for task in queue.tasks if task.recording.id == recording.id]
        segments = tuple(RatedSegment(start_s=start, end_s=end, label=label) for start, end, label in stretches)
        rating = make_rating(None, flag=None, segments=segments)
        workbench.labelling.rate(labelled.project.id, task.assignment.id, rating, annotator=person)
    sign_in(Role.ANALYST, labelled.owner.user)
    app = open_page("review")
    assert not app.exception
    assert app.dataframe[0].value["State"].tolist() == ["segments to decide"]
    lanes = widget_of(app, "telepathy_listener")["lanes"]
    assert [lane["name"] for lane in lanes] == [*(each.user.email for each in labelled.annotators), "Consensus"]
    assert [(each["start"], each["end"], each["label"]) for each in lanes[-1]["pieces"]] == [
        (0.0, 0.5, "happy"),
        (0.5, 0.8, None),
        (0.8, recording.duration_s, "sad"),
    ]
    assert "2 segments\\: happy, sad" in text_of(app)
    assert "They say the same 75\xa0% of the time" in text_of(app)
    key = f"review_stretch_{recording.id}_0.500_0.800"
    assert app.number_input(key=f"{key}_from").value == 0.5, "what is contested is offered"
    assert app.button(key="review_decide_stretch").disabled
    app.pills(key=f"{key}_label").set_value("sad").run()
    app.button(key="review_decide_stretch").click().run()
    assert not app.exception
    assert "No clip of this kind is left" in text_of(app)
    app.segmented_control(key="review_shown").set_value(Shown.DECIDED).run()
    assert "decided sad from 0.50 to 0.80 s" in text_of(app)
    pieces = widget_of(app, "telepathy_listener")["lanes"][-1]["pieces"]
    assert [(each["start"], each["label"]) for each in pieces] == [(0.0, "happy"), (0.5, "sad"), (0.8, "sad")]
    key = f"review_stretch_{recording.id}_0.000_{recording.duration_s:.3f}"
    app.number_input(key=f"{key}_to").set_value(0.5).run()
    app.button(key="review_empty_stretch").click().run()
    [clip] = workbench.labelling.clips_for_review(labelled.project.id, reader=labelled.owner.reader)
    assert [each.start_s for each in clip.segments] == [0.5, 0.8]
