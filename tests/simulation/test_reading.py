"""Trace files: the shipped ones whole, the original formats, and what is said of broken ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import re
import tarfile
from pathlib import Path

import pytest

from insula.kernel.errors import InvalidRequest, NotFound
from insula.simulation import servegen
from insula.simulation.reading import read
from insula.simulation.workloads import CLIENTS, FILES, HERE, workload


def test_the_shipped_traces_are_the_ones_their_readme_names() -> None:
    named = dict(
        reversed(row) for row in re.findall(r"([0-9a-f]{64})  (\S+)", (HERE / "README.md").read_text())
    )
    shipped = {path.name for path in HERE.iterdir() if path.suffix != ".md"}
    assert shipped == set(named) == {*FILES.values(), CLIENTS}
    for name, digest in named.items():
        assert hashlib.sha256((HERE / name).read_bytes()).hexdigest() == digest
    assert sum(path.stat().st_size for path in HERE.iterdir()) < 400_000


@pytest.mark.parametrize(("name", "rows"), [("arena", 1500), ("azure", 8819), ("mooncake", 12031)])
def test_shipped_requests(name: str, rows: int) -> None:
    requests = read(HERE / FILES[name])
    assert len(requests) == rows
    assert requests[0].at_us == 0
    assert all(one.at_us <= other.at_us for one, other in itertools.pairwise(requests))


def test_mooncake_reads_37_percent_from_the_cache() -> None:
    requests = read(HERE / FILES["mooncake"])
    assert sum(r.cached for r in requests) / sum(r.prompt for r in requests) == pytest.approx(
        0.374, abs=0.001
    )


def test_mooncake_as_published(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]},
        {"timestamp": 27, "input_length": 1200, "output_length": 6, "hash_ids": [1, 2, 9]},
        {"timestamp": 30, "input_length": 100, "output_length": 6, "hash_ids": [1]},
    ]
    path = tmp_path / "conversation.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    assert [(r.at_us, r.cached) for r in read(path)] == [(0, 0), (27_000, 1024), (30_000, 100)]


def test_azure_times_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04,10,3\n"
    )
    assert [r.at_us for r in read(path)] == [0, 20_040]


HEADER = "timestamp_s,client_id,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "missing"),
        (HEADER, 1, "no requests"),
        ("a,b\n1,2\n", 1, "columns"),
        (HEADER + "0,c1,5,5\n1,c1,5\n", 3, "3 cells"),
        (HEADER + "0,c1,many,5\n", 2, "many"),
        (HEADER + "0,c1,-5,5\n", 2, "out of range"),
        (HEADER + "0,c1,5,99999999999\n", 2, "out of range"),
        (HEADER + "nan,c1,5,5\n", 2, "nan"),
        (HEADER + "inf,c1,5,5\n", 2, "inf"),
        (HEADER + "0,,5,5\n", 2, "no client"),
        ('{"timestamp": 0, "input_length": 5}\n', 1, "output_length"),
        ('{"timestamp": 0, "input_length": 5, "output_length": 5}\n{"ti\n', 2, "not a request"),
        ('{"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": ["x"]}\n', 1, "not a request"),
        ('{"timestamp": 0, "input_length": 5.5, "output_length": 5}\n', 1, "5.5"),
    ],
)
def test_a_broken_trace_names_line_problem_and_fix(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(text)
    with pytest.raises(InvalidRequest) as refused:
        read(path)
    assert f"line {line}:" in refused.value.message
    assert said in refused.value.message
    assert refused.value.hint
    assert refused.value.field == "--trace"


def test_a_missing_trace_names_the_known_ones() -> None:
    with pytest.raises(NotFound) as refused:
        workload("nowhere.csv", 1)
    assert "arena" in refused.value.hint


@pytest.mark.parametrize("data", [b"\x00\x01\xff\xfe" * 20, b"\x1f\x8b broken gzip"])
def test_a_file_that_is_no_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "binary"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match="line 1"):
        read(path)


def archive(path: Path, trace: str, dataset: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in (("d/chunk-0-trace.csv", trace), ("d/chunk-0-dataset.json", dataset)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_servegen_as_published(tmp_path: Path) -> None:
    dataset = json.dumps({"0": {"input_tokens": "{10: 0.5, 20: 0.5}", "output_tokens": "{7: 1.0}"}})
    path = archive(tmp_path / "s.tar.gz", "0,0.5,2.0,Gamma,1,1\n600,0,0,,0,0\n", dataset)
    (client,) = servegen.load(path)
    assert client.rates == (0.5, 0.0)
    assert client.bursts == (2.0, 0.0)
    assert set(client.prompts) == {10, 20}
    assert set(client.outputs) == {7}
    made, _ = workload(str(path), 1, slots=2, hours=0.1)
    assert {run.tenant for run in made.runs} <= {"t0000"}


@pytest.mark.parametrize(
    "dataset", ["{}", "[]", "not json", '{"0": {"input_tokens": "open()", "output_tokens": "{}"}}']
)
def test_a_broken_archive_is_refused(tmp_path: Path, dataset: str) -> None:
    path = archive(tmp_path / "s.tar.gz", "0,0.5,2.0,Gamma,1,1\n", dataset)
    with pytest.raises(InvalidRequest, match="ServeGen"):
        workload(str(path), 1)


def test_tenants_are_refused_where_the_trace_has_its_own() -> None:
    with pytest.raises(InvalidRequest) as refused:
        workload("arena", 1, tenants=5)
    assert refused.value.field == "--tenants"
