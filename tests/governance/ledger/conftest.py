"""The court of these tests, importable as ``ledger_trace``: test folders are no packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _load() -> None:
    spec = importlib.util.spec_from_file_location("ledger_trace", Path(__file__).with_name("ledger_trace.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ledger_trace"] = module
    spec.loader.exec_module(module)


_load()
