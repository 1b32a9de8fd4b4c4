"""What the agent tries. Each attempt returns why it was refused, or raises ``BreachError`` with its gain."""

import errno
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import openai

DOCUMENTATION_ADDRESS = ("192.0.2.1", 80)  # RFC 5737: routed nowhere
OUTSIDE = "example.com"
CALLS_MAX = 400
FILE_BYTES_MAX = 65536


class BreachError(Exception):
    """An attempt succeeded."""


def marker(tenant: str) -> str:
    """The first line of a tenant's diary."""
    return f"private diary of {tenant}"


def all_of(task: dict[str, str], client: openai.OpenAI) -> dict[str, Callable[[], str]]:
    """Return the attempts by name, in order."""
    hasty = client.with_options(max_retries=0)
    return {
        "other_workspace": lambda: other_workspace(task["other"], Path(task["home"])),
        "internet": internet,
        "other_processes": other_processes,
        "forbidden_model": lambda: forbidden_model(hasty, task["forbidden_model"]),
        "rate": lambda: rate(hasty, task["model"]),
    }


def other_workspace(other: str, home: Path) -> str:
    """Look for the other tenant's diary in every readable file, and for its data in the platform's home."""
    wanted = marker(other).encode()
    seen = 0
    for path in _files("/"):
        seen += 1
        if wanted in _start_of(path):
            raise BreachError(f"read the other tenant's diary in {path}")
    places = [home, home / "tenants" / other, *Path("/proc").glob("[0-9]*/root/work/diary.txt")]
    for path in places:
        if wanted in _start_of(path) or _listable(path):
            raise BreachError(f"reached {path}")
    return f"the platform's home is not in here; none of {seen} visible files holds {other}'s diary"


def internet() -> str:
    """Try a name, a plain connection, and both kinds of request through the proxy of the environment."""
    said = []
    try:
        socket.getaddrinfo(OUTSIDE, 80)
        raise BreachError(f"resolved {OUTSIDE}")
    except socket.gaierror as error:
        said.append(f"name lookup: {error.strerror}")
    try:
        socket.create_connection(DOCUMENTATION_ADDRESS, timeout=3).close()
        raise BreachError(f"connected to {DOCUMENTATION_ADDRESS[0]}")
    except OSError as error:
        said.append(f"direct: {os.strerror(error.errno) if error.errno else error}")
    proxied = [f"{scheme} proxy: {_through_proxy(f'{scheme}://{OUTSIDE}/')}" for scheme in ("http", "https")]
    return "; ".join(said + proxied)


def other_processes() -> str:
    """Look for processes that are neither this one nor an ancestor, and try to signal each low number."""
    own = _ancestors()
    visible = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
    if visible - own:
        raise BreachError(f"sees processes {sorted(visible - own)}")
    for pid in range(1, 4096):
        if pid not in own and _can_signal(pid):
            raise BreachError(f"could signal process {pid}")
    return f"only {len(visible)} processes are visible, all of this run"


def forbidden_model(client: openai.OpenAI, model: str) -> str:
    """Call a model that exists on the platform but that this tenant was not given."""
    try:
        client.completions.create(model=model, prompt="hello", max_tokens=1)
    except openai.APIStatusError as error:
        return _refusal(error, 403, 404)
    raise BreachError(f"{model} answered")


def rate(client: openai.OpenAI, model: str) -> str:
    """Call as fast as can be until told to stop."""
    for calls in range(CALLS_MAX):
        try:
            client.completions.create(model=model, prompt="again", max_tokens=1)
        except openai.RateLimitError as error:
            wait = error.response.headers.get("retry-after", "no")
            return f"{_refusal(error, 429)} (call {calls + 1}, retry-after {wait} s)"
    raise BreachError(f"made {CALLS_MAX} calls without a pause")


def _refusal(error: openai.APIStatusError, *expected: int) -> str:
    if error.status_code not in expected:
        raise BreachError(f"was answered {error.status_code}: {error.message}")
    body = error.body if isinstance(error.body, dict) else {}
    return f"{error.status_code} {error.code}: {body.get('message', error.message)}"


def _through_proxy(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            raise BreachError(f"fetched {url}: {reply.status}")
    except urllib.error.HTTPError as error:
        told = json.loads(error.read() or b"{}")
        return f"{error.code} {told.get('error', {}).get('code', '')}".strip()
    except OSError as error:
        return str(getattr(error, "reason", error))


def _files(top: str) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if (folder, name) not in (("/", "usr"), ("/", "sys"))]
        found += [Path(folder, name) for name in names if folder != "/work"]
    return found


def _start_of(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError:
        return b""


def _listable(path: Path) -> bool:
    try:
        return any(path.iterdir())
    except OSError:
        return False


def _ancestors() -> set[int]:
    pid, found = os.getpid(), set()
    while pid:
        found.add(pid)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        pid = next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))
    return found


def _can_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True
