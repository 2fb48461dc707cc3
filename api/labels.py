"""A label as callers write it: one sentence says what is wrong with it, where a union would give two."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from core.domain import Label, label_of


def _label(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    return label_of(value) if isinstance(value, str) else handler(value)


AskedLabel = Annotated[Label, WrapValidator(_label)]
"""One of the eight emotions, or a label of somebody's own."""
