"""agent.toml: what is accepted, and that every refusal names field, problem and fix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.bundles import Manifest
from insula.kernel.errors import InvalidRequest

LEAST = b'name = "researcher"\nentrypoint = "python main.py"\n'


def test_the_least_manifest_gets_the_defaults() -> None:
    manifest = Manifest.parse(LEAST)
    assert manifest.name == "researcher"
    assert manifest.entrypoint == ("python", "main.py")
    assert (manifest.runtime, manifest.models, manifest.recovery) == ("python", (), "restart")
    assert manifest.limits == {}


def test_a_full_manifest() -> None:
    manifest = Manifest.parse(
        b'name = "a"\nentrypoint = "python main.py --mode \'two words\'"\nruntime = "openai"\n'
        b'models = ["m1", "org/m2", "m1"]\nrecovery = "fail"\n'
        b"[limits]\ntimeout_s = 1.5\nmemory_mib = 64\npids = 8\ncpu = 0.5\nworkspace_mib = 4\n"
    )
    assert manifest.entrypoint == ("python", "main.py", "--mode", "two words")
    assert manifest.models == ("m1", "org/m2")
    assert manifest.limits == {"timeout_s": 1.5, "memory_mib": 64, "pids": 8, "cpu": 0.5, "workspace_mib": 4}
    assert manifest.as_dict()["models"] == ["m1", "org/m2"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"", "name"),
        (b'name = "a"', "entrypoint"),
        (b"name = 3\nentrypoint = 'x'", "name"),
        (b"name = 'Upper'\nentrypoint = 'x'", "name"),
        (b"name = '../a'\nentrypoint = 'x'", "name"),
        (b"name = 'a'\nentrypoint = ''", "entrypoint"),
        (b"name = 'a'\nentrypoint = '   '", "entrypoint"),
        (b"name = 'a'\nentrypoint = ['python']", "entrypoint"),
        (b"name = 'a'\nentrypoint = \"python 'main.py\"", "entrypoint"),
        (b'name = "a"\nentrypoint = "python \\u0000"', "entrypoint"),
        (LEAST + b"runtime = '../../etc'", "runtime"),
        (LEAST + b"runtime = 3", "runtime"),
        (LEAST + b"models = 'm1'", "models"),
        (LEAST + b"models = [1]", "models[0]"),
        (LEAST + b"models = ['ok', 'no space']", "models[1]"),
        (LEAST + b"recovery = 'maybe'", "recovery"),
        (LEAST + b"recovery = []", "recovery"),
        (LEAST + b"limits = 3", "limits"),
        (LEAST + b"[limits]\nmemory_mib = -1", "limits.memory_mib"),
        (LEAST + b"[limits]\nmemory_mib = true", "limits.memory_mib"),
        (LEAST + b"[limits]\nmemory_mib = 64.5", "limits.memory_mib"),
        (LEAST + b"[limits]\ntimeout_s = nan", "limits.timeout_s"),
        (LEAST + b"[limits]\ntimeout_s = inf", "limits.timeout_s"),
        (LEAST + b"[limits]\ncpu = '2'", "limits.cpu"),
        (LEAST + b"[limits]\npids = 99999999999999999999", "limits.pids"),
        (LEAST + b"\xff", "agent.toml"),
        (LEAST + b"name", "agent.toml"),
        (b"#" * 70_000, "agent.toml"),
        (b"a = " + b"[" * 20_000, "agent.toml"),
    ],
)
def test_refusals_name_field_and_fix(text: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Manifest.parse(text)
    assert refused.value.field == field
    assert field in refused.value.message
    assert refused.value.hint


def test_an_unknown_key_gets_a_suggestion() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Manifest.parse(LEAST + b"entrypiont = 'x'")
    assert "entrypoint" in refused.value.hint
    with pytest.raises(InvalidRequest) as refused:
        Manifest.parse(LEAST + b"[limits]\nmemory_mb = 1")
    assert refused.value.field == "limits.memory_mb"
    assert "limits.memory_mib" in refused.value.hint


@given(st.binary(max_size=200))
def test_any_bytes_give_a_manifest_or_a_typed_refusal(noise: bytes) -> None:
    for text in (noise, LEAST + noise):
        try:
            Manifest.parse(text)
        except InvalidRequest as refused:
            assert refused.field and refused.hint
