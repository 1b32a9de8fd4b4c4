"""Structured logs that cannot carry a secret.

Names of fields that hold credentials are blanked, and so is anything in a value that has the shape
of one. Messages are event names; everything else is a field.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAME = re.compile(
    r"(?:authorization|cookie|password|secret|token|api_?key|dek|private)", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"ins_(?:op|tn|vk)_[A-Za-z0-9_-]+|sk-[A-Za-z0-9_-]{8,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+|(?i:bearer)\s+\S+"
)
_COUNTS = frozenset({"input_tokens", "output_tokens", "max_tokens", "tokens", "token_hash"})


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank credentials in a log event (a structlog processor)."""
    for name, value in event.items():
        if _SECRET_NAME.search(name) and name not in _COUNTS and not isinstance(value, int | float | bool):
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = _SECRET_VALUE.sub("***", value)
    return event


def configure(level: str, *, as_json: bool) -> None:
    """Send logs of ours and of the libraries to stderr, at ``level`` and above."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
