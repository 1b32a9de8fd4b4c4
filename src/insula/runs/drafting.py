"""Draws the blueprint of a start: bundle, runtime, the tier's bounds narrowed, environment."""

from __future__ import annotations

from insula.bundles import Bundle, BundleStore
from insula.kernel.errors import InsulaError, NotFound
from insula.kernel.ids import RunId, TenantId
from insula.runs.blueprint import Blueprint
from insula.runs.bounds import effective_timeout, narrowed
from insula.runs.record import RunRecord
from insula.runs.verdict import Cause, Refused, refused
from insula.runtimes import Runtime, RuntimeStore
from insula.storage import SealedFile
from insula.tenancy import Registry

RELAY = "http://127.0.0.1:8700"
"""Where pid 1 listens inside the sandbox."""


class Drafts:
    """Blocking: call it from a worker thread."""

    def __init__(self, registry: Registry, bundles: BundleStore, runtimes: RuntimeStore) -> None:
        self._registry = registry
        self._bundles = bundles
        self._runtimes = runtimes

    def draw(self, record: RunRecord, tenant: TenantId, space: SealedFile, data: bytes) -> Blueprint:
        """Return what a start of ``record`` needs. Raises ``Refused`` when something of it is not there."""
        profile = self._registry.profile(tenant)
        bundle = self._bundle(space, record)
        runtime = self._runtime(bundle.manifest.runtime)
        limits = bundle.manifest.limits
        timeout = effective_timeout(profile.sandbox, limits, record.timeout_s)
        return Blueprint(
            tenant=tenant,
            run=record.run,
            agent=record.agent,
            app=bundle.manifest.app,
            models=bundle.manifest.models,
            recovery=bundle.manifest.recovery,
            profile=profile,
            bounds=narrowed(profile.sandbox, limits, timeout),
            timeout=timeout,
            rootfs=runtime.rootfs,
            command=bundle.manifest.entrypoint,
            environment=environment(record.run),
            files=bundle.files,
            data=data,
            tokens=_tokens(limits.get("tokens")),
            lane=record.lane,
        )

    def _bundle(self, space: SealedFile, record: RunRecord) -> Bundle:
        try:
            return self._bundles.get(space, record.bundle)
        except NotFound as error:
            raise Refused(refused(Cause.AGENT_UNKNOWN, error.message, error.hint)) from error

    def _runtime(self, name: str) -> Runtime:
        try:
            return self._runtimes.get(name)
        except InsulaError as error:
            raise Refused(refused(Cause.RUNTIME_UNKNOWN, error.message, error.hint)) from error


def _tokens(asked: float | None) -> int | None:
    return None if asked is None else int(asked)


def environment(run: RunId) -> dict[str, str]:
    """Return the agent's environment: where the gateway is, and a placeholder where a key is expected.

    Nothing in it is a secret: the run is known by its door. Nothing names the tenant.
    """
    base = f"{RELAY}/v1"
    proxied = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), RELAY)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/work",
        "TMPDIR": "/tmp",  # noqa: S108 - inside the sandbox
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # --follow shows what is printed, when it is printed
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "INSULA_RUN": run,
        "INSULA_RESULT": "/work/result.json",
        "INSULA_ARTIFACTS": "/work/artifacts",
        "INSULA_GATEWAY": RELAY,
        "OPENAI_BASE_URL": base,
        "OPENAI_API_KEY": "insula",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **proxied,
    }
