"""Single sign-on: Streamlit's own OIDC speaks to the provider; what the provider vouches for becomes a session of ours.

Streamlit keeps the provider's answer in a signed cookie. It is read once, by the route that exchanges it, and deleted
there: from then on the session counts, which signing out and disabling an account end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from streamlit.auth_util import get_origin_from_redirect_uri, validate_auth_credentials
from streamlit.errors import StreamlitAuthError
from streamlit.user_info import generate_login_redirect_url
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import _get_signed_cookie_with_chunks

from core.errors import InvalidCredentialsError

PROVIDER = "default"
"""The unnamed one: the section `[auth]` of `.streamlit/secrets.toml`."""


class StreamlitSignOn:
    """What the routes of the sign-in pages need of Streamlit's OIDC."""

    cookie = USER_COOKIE_NAME

    def address(self) -> str:
        """Where to send a browser so that it comes back vouched for.

        Raises
        ------
        InvalidCredentialsError
            The section `[auth]` of the secrets is missing or not whole.
        """
        try:
            validate_auth_credentials(PROVIDER)
        except StreamlitAuthError as error:
            raise InvalidCredentialsError(
                "Single sign-on is not set up: the section [auth] of .streamlit/secrets.toml is missing or not whole."
            ) from error
        return generate_login_redirect_url(PROVIDER)

    def vouched_for(self, cookies: Mapping[str, str]) -> tuple[str, str]:
        """The e-mail address and name that the provider vouches for.

        Raises
        ------
        InvalidCredentialsError
            It vouches for nobody, or not for the address.
        """
        signed = _get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE_NAME)
        told = {} if signed is None else json.loads(signed)
        is_ours = bool(told.get("is_logged_in")) and told.get("origin") == get_origin_from_redirect_uri()
        email = told.get("email")
        if not is_ours or not isinstance(email, str):
            raise InvalidCredentialsError("The provider vouched for nobody. Try again.")
        if told.get("email_verified") is not True:
            raise InvalidCredentialsError(
                f"The provider has not verified that {email} is yours. Verify the address there, then try again."
            )
        return email, str(told.get("name") or "")
