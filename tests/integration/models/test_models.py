"""Champion and challengers: the gate, deployment while others ask, roll back, the shadow."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from core.accounts import delete_account
from core.config import Settings
from core.domain import PROCESS, Role, Source
from core.errors import (
    DamagedModelError,
    GateNotPassedError,
    InvalidParameterError,
    ModelNotFoundError,
    NothingToRollBackError,
    TelepathyError,
)
from core.models.models import Models, Standing, standing_after
from core.models.versions import read_rounds
from core.store.audit import select_audit_entries
from core.store.models import ModelEvent, ModelEventKind, count_shadow_answers
from core.workbench import open_workbench
from tests.bundles import TINY, copy_of_tiny
from tests.callers import make_fake_caller, make_user
from tests.challengers import PARENT, challenger
from tests.prepared_stores import prepared
from tests.sounds import voice_wav
from tests.waiting import wait_until

WAV = voice_wav(seconds=1.0)
OWNER = uuid4()


@pytest.fixture
def settings(tmp_path, store_url):
    url = store_url if store_url.startswith("postgresql") else ""
    return Settings(data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny", store_url=url)


@pytest.fixture
def own(settings):
    settings.installed_models_dir.mkdir()
    return settings.installed_models_dir


@pytest.fixture
def workbench(settings, own):
    opened = open_workbench(settings)
    yield opened
    opened.close()


@pytest.fixture
def admin():
    return make_fake_caller()


def analyse(workbench, model=None):
    return workbench.analyse(WAV, name="a.wav", source=Source.API, owner=OWNER, model=model).prediction


def top(prediction):
    """The emotion with the largest probability, and that."""
    return max(prediction.probabilities.items(), key=lambda pair: pair[1])


def test_versions_say_where_they_come_from(workbench, own):
    folder = challenger(own)
    made, shipped = workbench.models.list_versions()[0]
    assert shipped.is_shipped
    assert shipped.retrained is None
    assert (made.card.name, made.folder, made.is_shipped) == ("tiny-2", folder, False)
    assert (made.retrained.parent, made.retrained.author) == (PARENT, "ada@example.org")
    assert made.retrained.gate.is_passed
    assert [one.number for one in made.retrained.rounds] == [1, 2]


@pytest.mark.parametrize(
    "change",
    [{"retraining": {"parent": "x"}}, {"head": None}, {"data": []}, {"data": {"corpora": {"RAVDESS": {}}}}],
    ids=["retraining", "head", "data", "corpus"],
)
def test_a_damaged_version_is_named_and_the_others_are_listed(workbench, own, change):
    challenger(own)
    copy_of_tiny(own, "broken", change=lambda card: card.update(change))
    found, [problem] = workbench.models.list_versions()
    assert [version.card.name for version in found] == ["tiny-2", "tiny"]
    assert isinstance(problem, DamagedModelError)
    assert "broken" in str(problem)


def test_any_version_answers_by_name_or_version(workbench, own):
    challenger(own)
    version = workbench.models.version("tiny-2").card.version
    assert analyse(workbench, "tiny-2").model_version == version
    assert analyse(workbench, version).model_version == version
    assert workbench.recogniser(version) is workbench.recogniser("tiny-2")
    assert analyse(workbench).model_version == PARENT
    with pytest.raises(ModelNotFoundError):
        analyse(workbench, "tiny-2-000000000000")


def test_a_challenger_that_passes_answers_at_once_and_can_be_rolled_back(workbench, own, admin):
    challenger(own)
    told = []
    workbench.models.on_event = lambda event, by: told.append((event.event, event.model, by))
    before = analyse(workbench)
    version = workbench.models.deploy("tiny-2", by=admin).card.version
    after = analyse(workbench)
    assert (before.model_version, after.model_version) == (PARENT, version)
    assert top(before) != top(after)
    assert workbench.models.standing == Standing(deployed="tiny-2", before=("tiny",), shadow=None)
    workbench.models.roll_back(by=admin)
    assert analyse(workbench).model_version == PARENT
    with pytest.raises(NothingToRollBackError):
        workbench.models.roll_back(by=admin)
    assert told == [
        (ModelEventKind.DEPLOYED, "tiny-2", admin),
        (ModelEventKind.ROLLED_BACK, "tiny", admin),
    ]
    actions = [(entry.action, entry.subject) for entry in select_audit_entries(workbench.access.store, limit=2)]
    assert actions == [("model.roll_back", PARENT), ("model.deploy", version)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"passes": False}, "not surely better on the corrections"),
        ({"parent": "tiny-000000000000"}, "it was compared with tiny-000000000000"),
    ],
    ids=["not better", "another champion"],
)
def test_the_gate_stops_a_challenger_unless_somebody_says_why(workbench, own, admin, changes, reason):
    challenger(own, **changes)
    with pytest.raises(GateNotPassedError, match=reason):
        workbench.models.deploy("tiny-2", by=admin, reason="  ")
    assert workbench.models.deployed == "tiny"
    workbench.models.deploy("tiny-2", by=admin, reason="A demonstration")
    assert workbench.models.deployed == "tiny-2"
    assert workbench.models.history()[0].reason == "A demonstration"


def test_a_model_made_elsewhere_needs_a_reason(workbench, own, admin):
    copy_of_tiny(own, "other", change=lambda card: card.update(version=card["version"].replace("tiny", "other")))
    with pytest.raises(GateNotPassedError, match="nothing compares them"):
        workbench.models.deploy("other", by=admin)


def test_a_model_that_cannot_be_loaded_is_not_deployed(workbench, own, admin):
    folder = challenger(own)
    (folder / "head.tflite").write_bytes(b"nothing")
    with pytest.raises(DamagedModelError):
        workbench.models.deploy("tiny-2", by=admin)
    assert workbench.models.deployed == "tiny"
    assert analyse(workbench).model_version == PARENT


def test_a_deployment_outlives_the_process(workbench, own, admin, settings):
    challenger(own)
    version = workbench.models.deploy("tiny-2", by=admin).card.version
    workbench.close()
    again = open_workbench(settings)
    try:
        assert again.recogniser().card.version == version
    finally:
        again.close()


def test_no_call_fails_while_models_change(workbench, own, admin):
    """Every answer is one of the two models', and each of them whole."""
    challenger(own)
    versions = {PARENT, workbench.models.version("tiny-2").card.version}
    answers, failures, may_stop = [], [], threading.Event()

    def ask():
        while not may_stop.is_set() or len(answers) < 6:
            try:
                answers.append(analyse(workbench))
            except TelepathyError as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        workbench.models.deploy("tiny-2", by=admin)
        workbench.models.roll_back(by=admin)
    may_stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert {answer.model_version for answer in answers} <= versions
    tops = {answer.model_version: set() for answer in answers}
    for answer in answers:
        tops[answer.model_version].add(top(answer))
    assert all(len(said) == 1 for said in tops.values())


def test_a_shadow_hears_what_is_answered_and_nobody_is_told(workbench, own, admin):
    challenger(own)
    shadow = workbench.models.start_shadow("tiny-2", by=admin).card.version
    told = [analyse(workbench) for _ in range(2)]
    analyse(workbench, "tiny")  # asked for by name: no traffic of the champion
    wait_until(lambda: sum(count.n_answers for count in workbench.models.compare_shadow(shadow)) == 2)
    [count] = workbench.models.compare_shadow(shadow)
    assert {answer.model_version for answer in told} == {PARENT}
    assert count.champion_emotion == top(told[0])[0]
    assert count.shadow_emotion == top(analyse(workbench, "tiny-2"))[0] != count.champion_emotion
    assert count.champion_confidence == pytest.approx(top(told[0])[1])
    workbench.models.end_shadow(by=admin)
    assert workbench.models.standing.shadow is None
    workbench.models.end_shadow(by=admin)


def test_the_deployed_model_casts_no_shadow(workbench, own, admin):
    challenger(own)
    with pytest.raises(InvalidParameterError):
        workbench.models.start_shadow("tiny", by=admin)
    workbench.models.start_shadow("tiny-2", by=admin)
    workbench.models.deploy("tiny-2", by=admin)
    assert workbench.models.standing.shadow is None


def test_a_deleted_recording_takes_what_the_shadow_said_with_it(workbench, own, admin):
    challenger(own)
    shadow = workbench.models.start_shadow("tiny-2", by=admin).card.version
    recording_id = analyse(workbench).recording_id
    wait_until(lambda: workbench.models.compare_shadow(shadow))
    workbench.delete_recording(recording_id, reader=PROCESS)
    counted = count_shadow_answers(workbench.store, shadow_version=shadow, champion_version=PARENT, reader=PROCESS)
    assert counted == []


def test_a_broken_shadow_disturbs_nobody(workbench, own, admin):
    folder = challenger(own)
    workbench.models.start_shadow("tiny-2", by=admin)
    workbench._models.pop("tiny-2")
    (folder / "head.tflite").write_bytes(b"nothing")
    assert analyse(workbench).model_version == PARENT
    wait_until(lambda: workbench.shadow._n_waiting == 0)


def test_what_is_too_much_for_the_shadow_is_left_out(workbench, own, monkeypatch):
    analysis = workbench.analyse(WAV, name="a.wav", source=Source.API, owner=OWNER)
    may_end = threading.Event()
    monkeypatch.setattr("core.models.shadow.MAX_WAITING", 2)

    def slow():
        may_end.wait(10)
        return workbench.recogniser("tiny")

    heard = [workbench.shadow.hear(slow, None, analysis.recording, analysis.prediction) for _ in range(3)]
    may_end.set()
    assert heard == [True, True, False]
    assert workbench.shadow.n_left_out == 1


def test_another_process_hears_of_a_deployment(workbench, own, admin, settings, monkeypatch):
    monkeypatch.setattr("core.models.models.LOOK_AGAIN_S", 0.0)
    challenger(own)
    other = Models(settings, workbench.store, workbench.access, open_model=workbench.recogniser)
    assert other.deployed == "tiny"
    workbench.models.deploy("tiny-2", by=admin)
    assert other.deployed == "tiny-2"
    workbench.store.close()
    assert other.deployed == "tiny-2"


def test_roll_backs_go_back_one_by_one():
    def event(kind, model):
        return ModelEvent(
            id=uuid4(),
            happened_at=datetime.now(UTC),
            event=kind,
            model=model,
            version="",
            actor_id=None,
            actor="",
            reason="",
        )

    deployed, back = ModelEventKind.DEPLOYED, ModelEventKind.ROLLED_BACK
    events = [event(deployed, "b"), event(deployed, "c"), event(back, "b"), event(deployed, "d"), event(back, "b")]
    assert standing_after(events, first="a") == Standing(deployed="b", before=("a",), shadow=None)
    assert standing_after([*events, event(back, "a"), event(back, "x")], first="a").deployed == "a"


def test_no_curve_before_there_is_one(tmp_path):
    assert read_rounds(tmp_path / "rounds.json") == ()


def test_who_leaves_is_named_by_an_id_where_models_name_them(workbench, own):
    leaving, staying = (
        workbench.access.caller_on_behalf(make_user(workbench, Role.ADMIN, password=None).id) for _ in range(2)
    )
    folder = challenger(own)
    card = json.loads((folder / "card.json").read_text())
    card["retraining"]["author"] = leaving.user.email
    (folder / "card.json").write_text(json.dumps(card))
    version = workbench.models.deploy("tiny-2", by=leaving).card.version
    workbench.models.roll_back(by=staying)
    delete_account(workbench, leaving.user.id, by=None)
    assert [event.actor for event in workbench.models.history()] == [staying.user.email, str(leaving.user.id)]
    found = workbench.models.version("tiny-2")
    assert (found.retrained.author, found.card.version) == (str(leaving.user.id), version)
    assert leaving.user.email not in (folder / "card.json").read_text()
    assert json.loads((folder / "card.json").read_text())["retraining"] | {"author": ""} == card["retraining"] | {
        "author": ""
    }
