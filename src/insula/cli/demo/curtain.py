"""From the first line to the last: set the stage, play, show, clear away."""

from __future__ import annotations

import tempfile
from pathlib import Path

from insula.cli import show
from insula.cli.demo.screen import JsonScreen, Screen
from insula.cli.demo.story import play
from insula.cli.demo.verdict import ok
from insula.cli.exits import ExitCode

NOTICE = (
    'This demonstration runs with trust="internal": the two tenants count as teams of one organisation, for '
    "whom namespaces (bubblewrap) are wall enough. Tenants who are strangers need gVisor or a microVM; under "
    'the default, trust="saas", a host without them refuses to run their agents.'
)


def run_demo(*, json_output: bool) -> int:
    """Play the demonstration; return the exit code, 0 only if every wall and every limit held."""
    import uvloop

    from insula.cli.demo.stage import perform
    from insula.logs import configure
    from insula.settings import load

    show.say(NOTICE) if json_output else show.line(NOTICE)
    with tempfile.TemporaryDirectory(prefix="insula-demo-") as folder:
        home = Path(folder) / "home"
        settings = load(
            home=home, host="127.0.0.1", port=0, gateway_port=0, trust="internal", local_model=True
        ).model_copy(update={"log_level": "error"})
        configure(settings.log_level, as_json=settings.log_json)
        screen = JsonScreen() if json_output else Screen()
        shown = uvloop.run(perform(settings, lambda client: play(client, home, screen)))
    screen.finish(shown)
    return ExitCode.OK if ok(shown) else ExitCode.FAILED
