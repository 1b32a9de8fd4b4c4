"""The program of the local model's process: serve one GGUF file on loopback until the platform is gone.

Reads one line of JSON from stdin, writes one line of JSON (the address) to stdout, then waits for the end
of stdin. Run as a script: it imports nothing of the platform. It parses what agents send, so it gives up
root and dies with its parent (``PR_SET_PDEATHSIG``, and end of stdin).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_NOBODY = 65534
# A base model has no chat format. The messages' text, one after another, is what it can continue.
_TEMPLATE = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"


def main() -> None:
    config = json.loads(sys.stdin.readline())
    import xllamacpp

    weights = os.open(config["weights"], os.O_RDONLY)
    confine(config["parent"])
    server = xllamacpp.Server(parameters(xllamacpp, config, f"/proc/self/fd/{weights}"))
    print(json.dumps({"address": server.listening_address}), flush=True)  # noqa: T201
    sys.stdin.read()
    os._exit(0)  # the server's threads have no other end


def confine(parent: int) -> None:
    """Give up root and every chance to regain it; die when ``parent`` dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # so that /proc/self/fd stays ours after the change of uid
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the change of uid, which clears it
    if os.getppid() != parent:
        os._exit(1)
    os.nice(5)


def parameters(xllamacpp: Any, config: dict[str, Any], weights: str) -> Any:
    """Return the server's parameters: bounded, and nothing of one prompt kept for the next."""
    wanted = xllamacpp.CommonParams()
    wanted.model.path = weights
    wanted.model_alias = {config["model"]}
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = 0
    wanted.api_keys = [config["key"]]
    wanted.n_parallel = config["slots"]
    wanted.n_ctx = config["context_tokens"] * config["slots"]
    wanted.n_batch = 512
    wanted.cpuparams.n_threads = config["threads"]
    wanted.cpuparams_batch.n_threads = config["threads"]
    wanted.n_threads_http = config["slots"] + 4
    wanted.n_gpu_layers = 0
    wanted.fit_params = False
    wanted.chat_template = _TEMPLATE
    wanted.verbosity = 1
    wanted.endpoint_slots = False
    wanted.ui = False
    wanted.cache_prompt = False  # tenants share this server: no reuse that another's timing could show
    wanted.cache_idle_slots = False
    wanted.cache_ram_mib = 0
    return wanted


if __name__ == "__main__":
    main()
