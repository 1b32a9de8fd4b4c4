"""The commands that scripts rely on, against the real platform: names, shapes and exit codes."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI, PermissionDeniedError

pytestmark = [pytest.mark.root, pytest.mark.slow]
RUN_SHAPE = {"run", "state", "backend", "exit_code", "output", "result", "usage", "reason"}


@pytest.fixture(scope="module")
def acme(running: Any, agent_directory: Path) -> Any:
    """A tenant with a deployed agent."""
    insula = running.insula
    assert insula.data("tenant", "create", "acme", "--tier", "pro")["id"] == "acme"
    assert insula.data("agent", "deploy", "acme", str(agent_directory))["name"] == "echo"
    return insula


def test_up_says_where_it_is(running: Any) -> None:
    assert set(running.said) == {"api", "gateway", "token", "pid"}
    os.kill(running.said["pid"], 0)
    home = running.insula.home
    for name in ("platform.json", "operator.token", "root.key"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_run_that_succeeds(acme: Any) -> None:
    run = acme.data("run", "acme/echo", "--input", "-", stdin="world")
    assert set(run) >= RUN_SHAPE
    assert (run["state"], run["exit_code"], run["output"]) == ("succeeded", 0, "hello world\n")
    assert run["backend"] == "bubblewrap"
    assert run["workspace_destroyed"]
    assert {"calls", "input_tokens", "output_tokens", "cost_usd"} <= set(run["usage"])
    assert acme.data("run", "show", run["run"]) == run
    assert acme.data("run", "list", "acme")["items"][0]["run"] == run["run"]


def test_a_run_that_fails_ends_with_one(acme: Any) -> None:
    run = acme.data("run", "acme/echo", "--input", "-", stdin="fail", code=1)
    assert (run["state"], run["exit_code"]) == ("failed", 3)
    assert run["reason"]
    told = acme("why", run["run"])
    assert told.returncode == 0
    assert "failed" in told.stdout


def test_a_run_for_people(acme: Any) -> None:
    done = acme("run", "acme/echo", "--follow", "--input", "-", stdin="you")
    assert done.returncode == 0
    assert done.stdout == "hello you\n"
    assert "a word aside" in done.stderr
    assert "succeeded" in done.stderr


def test_a_detached_run_can_be_waited_for_and_read(acme: Any) -> None:
    run = acme.data("run", "acme/echo", "--detach")
    assert run["state"] in {"queued", "admitted", "running", "succeeded"}
    assert "hello" in acme("run", "logs", run["run"], "--follow").stdout
    events = [json.loads(line) for line in acme("run", "logs", run["run"], "--json").stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["state"] == "succeeded"


def test_the_same_key_starts_one_run(acme: Any) -> None:
    first = acme.data("run", "acme/echo", "--idempotency-key", "once")
    assert acme.data("run", "acme/echo", "--idempotency-key", "once")["run"] == first["run"]


def test_a_run_is_cancelled(acme: Any, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('name = "sleeper"\nentrypoint = "python main.py"\n')
    (tmp_path / "main.py").write_text("import time; print('up', flush=True); time.sleep(60)")
    acme.data("agent", "deploy", "acme", str(tmp_path))
    run = acme.data("run", "acme/sleeper", "--detach")
    assert acme.data("run", "cancel", run["run"])["state"] == "cancelled"


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("run acme/absent", 1, "absent"),
        ("run nobody/echo", 1, "nobody"),
        ("run show run_00000000000000000000000000", 1, "run"),
        ("run show nonsense", 2, "run"),
        ("tenant create acme", 1, "acme"),
        ("tenant create Bad_Name", 2, "valid name"),
        ("tenant create x --tier gold", 2, "gold"),
        ("tenant create x --set compute=moon", 2, "moon"),
        ("limit set acme --rpm 0", 2, "rpm"),
        ("entitle acme bad|model", 2, "model"),
        ("endpoint add e --base-url nonsense --model m", 2, "http(s) URL"),
        ("usage acme --since yesterday", 2, "day"),
    ],
)
def test_a_refusal_names_the_matter_and_the_fix(acme: Any, line: str, code: int, told: str) -> None:
    done = acme(*line.split())
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert told in done.stderr
    assert "\nhint: " in done.stderr


def test_administration_by_script(acme: Any) -> None:
    acme.data(
        "endpoint", "add", "up", "--kind", "openai", "--base-url", "http://127.0.0.1:9/v1", "--model", "m1"
    )
    assert acme.data("entitle", "acme", "m1")["model"] == "m1"
    assert acme.data("limit", "set", "acme", "--rpm", "60", "--tpm", "1000", "--in-flight", "4")["rpm"] == 60
    assert acme.data("limit", "set", "acme/echo", "--rpm", "6")["scope"] == "acme/echo"
    assert acme.data("key", "create", "acme")["key"].startswith("ins_vk_")
    assert acme.data("usage", "acme")["totals"]["calls"] == 0
    assert acme.data("tier", "plan", "acme", "enterprise")["moves"]
    assert acme.data("audit", "verify")["ok"]
    assert acme.data("doctor")["ok"]


def test_the_key_of_an_endpoint_comes_from_stdin_and_never_back(acme: Any) -> None:
    words = ("endpoint", "add", "sealed", "--base-url", "http://127.0.0.1:9", "--model", "m2", "--key-stdin")
    assert acme.data(*words, stdin="sk-sup3rsecret\n")["has_key"]
    assert "sup3rsecret" not in acme("endpoint", "list", "--json").stdout
    assert "sup3rsecret" not in (acme.home.parent / "log").read_text()


@pytest.fixture
def upstream() -> Iterator[str]:
    """A server of models that answers every call with twelve tokens."""
    answer = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m3",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_key_opens_the_gateway_and_usage_shows_the_call(running: Any, upstream: str) -> None:
    insula = running.insula
    insula.data("tenant", "create", "caller", "--tier", "pro")
    insula.data("endpoint", "add", "answering", "--kind", "openai", "--base-url", upstream, "--model", "m3")
    key = insula.data("key", "create", "caller")["key"]
    with OpenAI(base_url=f"{running.said['gateway']}/v1", api_key=key, max_retries=0) as sdk:
        with pytest.raises(PermissionDeniedError, match="entitle"):
            sdk.chat.completions.create(model="m3", messages=[{"role": "user", "content": "hello"}])
        insula.data("entitle", "caller", "m3")
        told = sdk.chat.completions.create(model="m3", messages=[{"role": "user", "content": "hello"}])
    assert told.choices[0].message.content == "hi"
    report = insula.data("usage", "caller")
    [row] = report["rows"]
    assert (row["model"], row["calls"], row["input_tokens"], row["output_tokens"]) == ("m3", 1, 7, 5)
    assert report["totals"]["calls"] == 1
    assert insula("usage", "caller").stdout.splitlines()[0].split("\t")[2:6] == ["m3", "1", "7", "5"]


def test_a_tenants_own_token(acme: Any, running: Any) -> None:
    token = acme.data("token", "create", "--tenant", "acme")["token"]
    where = ("--url", running.said["api"], "--token", token)
    assert [t["id"] for t in acme.data(*where, "tenant", "list")["items"]] == ["acme"]
    assert acme(*where, "tenant", "create", "mine").returncode == 4
    assert acme("--url", running.said["api"], "--token", "wrong", "tenant", "list").returncode == 4


def test_a_tenant_is_deleted_with_a_receipt(running: Any) -> None:
    insula = running.insula
    insula.data("tenant", "create", "leaving")
    assert insula("tenant", "delete", "leaving").returncode == 2
    receipt = insula.data("tenant", "delete", "leaving", "--yes")
    assert receipt["key_destroyed"]
    assert insula("tenant", "show", "leaving").returncode == 1


def test_a_second_platform_in_the_same_home_is_refused(running: Any) -> None:
    done = running.insula("up", "--port", "0", "--gateway-port", "0")
    assert done.returncode == 1
    assert "another platform" in done.stderr


@pytest.mark.parametrize("flag", ["--port", "--gateway-port"])
def test_a_busy_port_is_named(flag: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        other = "--gateway-port" if flag == "--port" else "--port"
        done = bare(tmp_path / "home", "up", flag, number, other, "0")
    assert done.returncode == 1, done.stderr
    assert f"port {number} on 127.0.0.1 is in use" in done.stderr
    assert f"choose {flag}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--trust", "nobody"), "trust"),
        (("--port", "70000"), "port"),
        (("--host", "203.0.113.1", "--port", "0"), "--host"),
        (("--home", "/dev/null/home"), "home"),
    ],
)
def test_a_bad_setting_is_named(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = bare(tmp_path / "home", "up", *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr


def bare(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insula.cli.main", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_without_a_platform_the_audit_and_the_host_can_still_be_checked(
    tmp_path: Path, up: Callable[..., Any], down: Callable[..., int]
) -> None:
    home = tmp_path / "home"
    process, _ = up(home)
    assert json.loads(bare(home, "tenant", "create", "acme", "--json").stdout)["id"] == "acme"
    assert down(process) == 0
    assert not (home / "platform.json").exists()
    report = json.loads(bare(home, "audit", "verify", "--json").stdout)
    assert report["ok"]
    stream = home / "audit" / "acme.jsonl"
    stream.write_text(stream.read_text().replace('"tier":"free"', '"tier":"pro"'))
    broken = bare(home, "audit", "verify")
    assert broken.returncode == 3
    assert "acme" in broken.stdout
    examined = bare(home, "doctor", "--trust", "internal", "--json")
    assert examined.returncode == 0, examined.stderr
    assert json.loads(examined.stdout)["platform"] == "not running"
    assert bare(home, "doctor", "--trust", "saas").returncode == 3


def test_the_audit_of_a_home_that_holds_nothing(tmp_path: Path) -> None:
    done = bare(tmp_path / "none", "audit", "verify")
    assert done.returncode == 1
    assert "\nhint: " in done.stderr
    assert not (tmp_path / "none").exists()
