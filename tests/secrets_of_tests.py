"""Things of the shape of secrets, which open nothing."""

from __future__ import annotations

import jwt

API_KEY = "tel_live_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3gH5jK7m" + "0aB1cD"
JWT = jwt.encode({"sub": "nobody", "aud": "tests"}, "a key that signs nothing else at all", algorithm="HS256")
PASSWORD = "correct-horse-battery-staple"
LINK_TOKEN = "Zm9vYmFyLWJhei1xdXV4LWNvcmdlLWdyYXVsdC1nYXJwbHk"
FERNET_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
SOUND = b"these-bytes-are-a-voice-" * 40
