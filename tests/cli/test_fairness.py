"""``tenant set --weight``, ``endpoint set`` and ``fairness`` against a running platform."""

from typing import Any

import pytest


@pytest.fixture(scope="module")
def insula(running: Any) -> Any:
    running.insula.data("tenant", "create", "fairly", "--tier", "pro")
    running.insula.data(
        "endpoint", "add", "shared", "--base-url", "http://127.0.0.1:9/v1", "--model", "fair-m"
    )
    return running.insula


def test_a_weight_is_set_and_shown(insula: Any) -> None:
    assert insula.data("tenant", "set", "fairly", "--weight", "1/2")["weight"] == 0.5
    assert "weight 1.5" in insula("tenant", "set", "fairly", "--weight", "1.5").stderr
    assert insula.data("tenant", "show", "fairly")["weight"] == 1.5
    refused = insula("tenant", "set", "fairly", "--weight", "0")
    assert refused.returncode == 2
    assert "such as 2, 1.5 or 1/2" in refused.stderr


def test_an_endpoint_is_bounded_and_freed(insula: Any) -> None:
    bounded = insula.data("endpoint", "set", "shared", "--slots", "8", "--decode-tps", "700")["capacity"]
    assert (bounded["slots"], bounded["decode_tps"], bounded["kv_tokens"]) == (8, 700, None)
    freed = insula("endpoint", "set", "shared", "--unlimited", "slots", "--unlimited", "decode-tps")
    assert "nothing is limited" in freed.stderr
    assert insula("endpoint", "set", "shared").returncode == 2
    unknown = insula("endpoint", "set", "shared", "--unlimited", "wheels")
    assert (unknown.returncode, "prefill-tps" in unknown.stderr) == (2, True)


def test_the_figures_are_shown(insula: Any) -> None:
    shown = insula.data("fairness")
    assert [queue["name"] for queue in shown["queues"]][-1] == "sandboxes"
    assert insula("fairness").returncode == 0
