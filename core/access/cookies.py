"""What a browser's cookies are called, for those who set them and for those who read them."""

from __future__ import annotations

SESSION_COOKIE = "telepathy_session"
"""The signed token (JWT)."""
REFRESH_COOKIE = "telepathy_refresh"
"""The token that gets the next one."""
