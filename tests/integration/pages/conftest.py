"""The pages as Streamlit runs them, over a real workbench with a tiny model."""

from __future__ import annotations

import sys

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from core.access.access import SignedIn
from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE
from core.config import REPOSITORY, Settings
from core.domain import Role, User
from core.workbench import current_workbench, open_workbench, set_current_workbench
from pages.parts import session
from tests.bundles import TINY
from tests.callers import make_user
from tests.prepared_stores import prepared

NAVIGATION = REPOSITORY / "pages" / "navigation.py"


@pytest.fixture(scope="package", autouse=True)
def one_search_for_components():
    """Streamlit searches all that is installed for components at each start, which `AppTest.run` is; once is enough."""
    found = manifest_scanner.scan_component_manifests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda: found)
        yield


@pytest.fixture(autouse=True)
def one_program():
    """Streamlit makes the page the program that runs; processes started later would begin by running it again."""
    program = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = program


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny")


@pytest.fixture
def workbench(settings):
    """Empty, and the one that pages find."""
    opened = open_workbench(settings)
    set_current_workbench(opened)
    yield opened
    set_current_workbench(None)
    opened.close()


@pytest.fixture
def sign_in(workbench, monkeypatch):
    """Signs somebody of a role in, in the browser of this test; gives who."""

    def sign_in_as(role: Role, user: User | None = None) -> SignedIn:
        opened = current_workbench()
        user = user or make_user(opened, role)
        signed_in = opened.access.start_session(user, address="127.0.0.1", user_agent="a test")
        cookies = {SESSION_COOKIE: signed_in.access_token, REFRESH_COOKIE: signed_in.refresh_token}
        monkeypatch.setattr(session, "_cookie", cookies.get)
        return signed_in

    return sign_in_as


@pytest.fixture
def open_page(workbench, sign_in):
    """Opens a page, as an admin by its address; `parameters` stand behind the question mark."""
    sign_in(Role.ADMIN)

    def open_it(page: str = "analyse", **parameters: str | list[str]) -> AppTest:
        app = AppTest.from_file(NAVIGATION, default_timeout=60)
        app.query_params.update(parameters)
        app.run()
        return app if page == "analyse" else app.switch_page(f"{page}.py").run()

    return open_it
