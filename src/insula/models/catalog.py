"""The catalog: which endpoint serves which model. Reads are look-ups in memory; writes go to the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from insula.governance.fairness import Capacity
from insula.kernel.errors import AlreadyExists, InvalidRequest, NotFound
from insula.models.capacity import changed
from insula.models.endpoint import Endpoint, Kind, Model, base_url


class CatalogStore(Protocol):
    """Where endpoints are kept."""

    def endpoints(self) -> list[Endpoint]: ...

    def put_endpoint(self, endpoint: Endpoint) -> None: ...

    def delete_endpoint(self, name: str) -> None: ...

    def set_capacity(self, name: str, capacity: Capacity | None) -> None: ...


class EndpointKeys(Protocol):
    """Where the endpoints' API keys are kept, sealed."""

    def put(self, name: str, value: str) -> object: ...

    def delete(self, name: str) -> object: ...


@dataclass(frozen=True, slots=True)
class Served:
    """A model together with the endpoint that serves it."""

    model: Model
    endpoint: Endpoint


class Catalog:
    """Endpoints and their models. One model id is served by exactly one endpoint."""

    def __init__(self, store: CatalogStore, keys: EndpointKeys) -> None:
        self._store = store
        self._keys = keys
        self._endpoints: dict[str, Endpoint] = {}
        self._served: dict[str, Served] = {}
        self._watchers: list[Callable[[str], None]] = []
        for endpoint in store.endpoints():
            self._index(endpoint)

    def add_endpoint(
        self,
        name: str,
        kind: str,
        url: str,
        models: Iterable[str | Model],
        key: str | None = None,
        *,
        output_field: str = "max_tokens",
    ) -> Endpoint:
        """Add an endpoint; ``key`` is its API key (sealed at once, never returned).

        Raises ``InvalidRequest`` naming the field, ``AlreadyExists`` if the name or a model is taken.
        """
        secret = f"endpoint/{name}" if key is not None else None
        listed = tuple(item if isinstance(item, Model) else Model(item) for item in models)
        endpoint = Endpoint(name, _kind(kind), base_url(url), listed, secret, output_field)
        self._refuse_taken(endpoint)
        if key is not None:
            self._keys.put(f"endpoint/{name}", _key(key))
        self._store.put_endpoint(endpoint)
        self._index(endpoint)
        return endpoint

    def set_capacity(self, name: str, changes: Mapping[str, int | None]) -> Endpoint:
        """Change what an endpoint is said to bear; ``None`` lifts a figure. Holds from the next call on.

        For the local model, until the platform stops. Raises ``NotFound``, ``InvalidRequest``.
        """
        before = self.endpoint(name)
        endpoint = replace(before, capacity=changed(before.capacity, changes))
        if endpoint.kind is not Kind.LOCAL:
            self._store.set_capacity(name, endpoint.capacity)
        self._endpoints[name] = endpoint
        for model in endpoint.models:
            self._served[model.id] = Served(model, endpoint)
        return endpoint

    def attach_local(self, endpoint: Endpoint) -> None:
        """Show an endpoint that lives only as long as this process (the local model); not stored."""
        self._refuse_taken(endpoint)
        self._index(endpoint)

    def detach_local(self, name: str) -> None:
        """Take back what ``attach_local`` showed; nothing happens if it is not there."""
        if name in self._endpoints:
            self._drop(self._endpoints[name])

    def remove(self, name: str) -> None:
        """Remove an endpoint and its key. Raises ``NotFound``."""
        endpoint = self.endpoint(name)
        if endpoint.kind is Kind.LOCAL:
            raise InvalidRequest(
                "the local model is not a stored endpoint",
                hint="start without --local-model",
                field="endpoint",
            )
        self._store.delete_endpoint(name)
        if endpoint.secret is not None:
            self._keys.delete(endpoint.secret)
        self._drop(endpoint)

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint called ``name``. Raises ``NotFound``."""
        found = self._endpoints.get(name)
        if found is None:
            raise NotFound(f"no endpoint {name!r}", hint="insula endpoint list shows them", field="endpoint")
        return found

    def endpoints(self) -> list[Endpoint]:
        """Return all endpoints by name."""
        return [self._endpoints[name] for name in sorted(self._endpoints)]

    def models(self) -> list[Served]:
        """Return all models by id, each with its endpoint."""
        return [self._served[model] for model in sorted(self._served)]

    def find(self, model: str) -> Served | None:
        """Return who serves ``model``, or ``None``."""
        return self._served.get(model)

    def watch(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(name)`` whenever the endpoint ``name`` changes or goes."""
        self._watchers.append(callback)

    def _index(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.name] = endpoint
        for model in endpoint.models:
            self._served[model.id] = Served(model, endpoint)
        self._tell(endpoint.name)

    def _drop(self, endpoint: Endpoint) -> None:
        del self._endpoints[endpoint.name]
        for model in endpoint.models:
            del self._served[model.id]
        self._tell(endpoint.name)

    def _tell(self, name: str) -> None:
        for watcher in self._watchers:
            watcher(name)

    def _refuse_taken(self, endpoint: Endpoint) -> None:
        if endpoint.name in self._endpoints:
            raise AlreadyExists(
                f"endpoint {endpoint.name!r} exists",
                hint="remove it first, or take another name",
                field="name",
            )
        for model in endpoint.models:
            if model.id in self._served:
                raise AlreadyExists(
                    f"model {model.id!r} is already served by {self._served[model.id].endpoint.name!r}",
                    hint="one model id has one endpoint; remove the other first",
                    field="models",
                )


def _kind(value: str) -> Kind:
    try:
        return Kind(value)
    except ValueError:
        known = ", ".join(Kind)
        raise InvalidRequest(f"kind {value!r} is unknown", hint=f"use one of {known}", field="kind") from None


def _key(value: str) -> str:
    if not value or len(value) > 4096 or not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidRequest(
            "the endpoint's key is empty or holds blanks or control characters",
            hint="pass the key alone, on one line",
            field="key",
        )
    return value
