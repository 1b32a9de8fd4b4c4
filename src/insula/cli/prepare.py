"""Build what a first start would have to wait for: the shipped runtimes, the local model's weights.

``python -m insula.cli.prepare`` is the last step of `make setup`; a platform does the same when it needs to.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from insula.cli import show
from insula.kernel.errors import InsulaError
from insula.models.providers.weights import weights
from insula.runtimes import RuntimeStore
from insula.settings import load


def main() -> None:
    settings = load()
    show.say(f"preparing runtimes and weights in {settings.cache}")
    try:
        with tempfile.TemporaryDirectory() as names:
            RuntimeStore(Path(names), settings.cache / "runtimes").ensure_shipped()
        weights(settings.cache / "models")
    except InsulaError as error:
        show.say(f"not prepared: {error.message}; it is tried again at the first start")


if __name__ == "__main__":
    main()
