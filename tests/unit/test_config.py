"""Settings: environment over file over default, and a clear sentence for every mistake."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.config import REPOSITORY, Settings
from core.errors import InvalidSettingError, UnknownSettingError

FIELDS = dataclasses.fields(Settings)


def test_environment_wins_over_file_and_file_over_default():
    settings = Settings.load({"TELEPATHY_N_PASSES": "7"}, "n_passes = 9\nwindow_s = 2")
    assert settings.n_passes == 7
    assert settings.window_s == 2.0
    assert settings.hop_s == Settings().hop_s


def test_values_take_the_type_of_their_field():
    settings = Settings.load({"TELEPATHY_DATA_DIR": "elsewhere", "TELEPATHY_HOP_S": "0.5"})
    assert settings.data_dir == Path("elsewhere")
    assert settings.hop_s == 0.5


def test_other_environment_variables_are_ignored():
    assert Settings.load({"PATH": "/bin", "N_PASSES": "3"}) == Settings()


@pytest.mark.parametrize(
    ("environ", "toml", "nearest"),
    [
        ({"TELEPATHY_NPASSES": "3"}, "", "TELEPATHY_N_PASSES"),
        ({}, "windows_s = 3", "window_s"),
    ],
)
def test_unknown_key_names_the_nearest_valid_one(environ, toml, nearest):
    with pytest.raises(UnknownSettingError, match=nearest):
        Settings.load(environ, toml)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n_passes", "many"),
        ("n_passes", "1"),
        ("n_passes", "2.5"),
        ("abstention_confidence", "nan"),
        ("abstention_confidence", "1.2"),
        ("max_duration_s", "-3"),
        ("inference_workers", "0"),
        ("log_level", "loud"),
        ("hop_s", "9"),
        ("registration", "anybody"),
        ("new_user_role", "admin"),
        ("new_user_plan", "gold"),
        ("single_sign_on", "maybe"),
        ("plans", "free"),
        ("plans", '{"free": 3}'),
        ("plans", '{"free": {"limits": "often"}}'),
        ("address_limits", "often"),
        ("address_limits", ""),
        ("plans", '{"free": {"max_concurrent": 0}}'),
        ("plans", '{"free": {"calls_per_month": 1.5}}'),
        ("plans", '{"campus": {"limits": "1 per second"}}'),
    ],
)
def test_value_out_of_place_is_refused_with_what_would_be_right(name, text):
    with pytest.raises(InvalidSettingError, match=rf"{name}.*must be"):
        Settings.load({f"TELEPATHY_{name.upper()}": text})


def test_truth_values_are_read_from_text():
    assert Settings.load({"TELEPATHY_SINGLE_SIGN_ON": "true"}).single_sign_on is True
    assert Settings.load({"TELEPATHY_SINGLE_SIGN_ON": "false"}, "single_sign_on = true").single_sign_on is False


def test_a_plan_is_changed_field_by_field():
    plans = Settings.load({}, "[plans.free]\ncalls_per_month = 5\naudio_s_per_month = 'unlimited'").plans
    assert (plans["free"].calls_per_month, plans["free"].audio_s_per_month) == (5, None)
    assert plans["free"].max_concurrent == Settings().plans["free"].max_concurrent
    assert plans["pro"] == Settings().plans["pro"]


def test_unknown_field_of_a_plan_names_the_nearest():
    with pytest.raises(UnknownSettingError, match=r"plans\.free\.calls_per_month"):
        Settings.load({"TELEPATHY_PLANS": '{"free": {"calls_a_month": 5}}'})


def test_truth_values_are_not_numbers():
    with pytest.raises(InvalidSettingError, match="n_passes"):
        Settings.load({}, "n_passes = true")


def test_broken_file_is_refused():
    with pytest.raises(InvalidSettingError, match=r"telepathy\.toml"):
        Settings.load({}, "n_passes = ")


def test_passwords_in_urls_do_not_show():
    assert "hunter2" not in repr(Settings(store_url="postgresql+psycopg://u:hunter2@db/t"))


@pytest.mark.parametrize("name", ["alert_webhook_url", "alert_webhook_secret"])
def test_where_alerts_go_and_what_signs_them_do_not_show(name):
    assert "hunter2" not in repr(dataclasses.replace(Settings(), **{name: "https://hooks.example.org/hunter2"}))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_setting_has_its_line_in_the_documentation(field):
    documented = (REPOSITORY / "docs" / "settings.md").read_text()
    row = re.search(rf"^\| `{field.name}` \|(.*)$", documented, re.MULTILINE)
    assert row is not None, f"docs/settings.md lacks {field.name}"
    default = Settings()
    if not isinstance(getattr(default, field.name), Path | Mapping) and getattr(default, field.name) != "":
        assert f"`{getattr(default, field.name)}`" in row.group(1)


def test_documentation_lists_no_setting_that_does_not_exist():
    documented = (REPOSITORY / "docs" / "settings.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE)) == {field.name for field in FIELDS}


def test_shared_recordings_are_not_encrypted_with_a_key_of_one_machine():
    encrypted = {"TELEPATHY_ENCRYPT_RECORDINGS": "true", "TELEPATHY_RECORDINGS_URL": "s3://bucket/recordings"}
    with pytest.raises(InvalidSettingError, match="secret_keys"):
        Settings.load(encrypted)
    assert Settings.load(encrypted | {"TELEPATHY_SECRET_KEYS": "k"}).encrypt_recordings
    assert Settings.load({"TELEPATHY_ENCRYPT_RECORDINGS": "true"}).encrypt_recordings
