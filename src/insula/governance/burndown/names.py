"""Names of providers and models, brought to one spelling. Pure.

One model has many ids: the maker's own, a cloud's with region and version, a resource name, a date at the
end, dots for hyphens. What they share is what a row of the table is written for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

_PROVIDERS = {
    "amazon-bedrock": "aws",
    "aws-bedrock": "aws",
    "azure-ai-openai": "azure",
    "azure-openai": "azure",
    "bedrock": "aws",
    "claude": "anthropic",
    "gcp-gemini": "gemini",
    "google": "gemini",
}
_HOSTS = (
    (re.compile(r"bedrock-(runtime|mantle)(?:-fips)?\.[a-z0-9.-]+"), "aws"),
    (re.compile(r"api\.anthropic\.com"), "anthropic"),
    (re.compile(r"api\.openai\.com"), "openai"),
    (re.compile(r"[a-z0-9-]+\.(?:openai|cognitiveservices|services\.ai)\.azure\.com"), "azure"),
    (re.compile(r"generativelanguage\.googleapis\.com"), "gemini"),
    (re.compile(r"api\.groq\.com"), "groq"),
    (re.compile(r"(?:inference|[a-z0-9.-]+\.api)\.baseten\.co"), "baseten"),
    (re.compile(r"api\.telnyx\.com"), "telnyx"),
)
_REGION = re.compile(r"^(?:us|eu|apac|global|jp|au|ca|sa|uk|amer|us-gov)\.(?=[a-z])")
_MAKER = re.compile(r"^[a-z][a-z0-9-]*\.(?=[a-z])")
_REVISION = re.compile(r"(?:-v\d+)?(?::[a-z0-9:]*)?$")
_DATE = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d|latest)$")
_BRACKET = re.compile(r"\[[^\]]*\]$")
_VERSION_FIRST = re.compile(r"^claude-(\d+(?:-\d+)?)-([a-z]+)")
_FAMILY = re.compile(r"^[a-z]+")


@lru_cache(maxsize=4096)
def provider_name(given: str) -> str:
    """Return the table's word for a provider."""
    word = re.sub(r"[._ ]", "-", given.strip().lower())
    return _PROVIDERS.get(word, word)


@lru_cache(maxsize=4096)
def model_name(given: str) -> str:
    """Return the plain name behind a model id: ``us.anthropic.claude-opus-4-8-20260301-v1:0`` is
    ``claude-opus-4-8``; so is a resource name that ends in it, or ``anthropic/claude-opus-4.8``."""
    name = given.strip().lower().rpartition("/")[2]
    name = _BRACKET.sub("", name)
    name = _REVISION.sub("", name)
    name = _MAKER.sub("", _REGION.sub("", name))
    name = _DATE.sub("", name)
    name = re.sub(r"[._ ]", "-", name)
    return _VERSION_FIRST.sub(r"claude-\2-\1", name)


def family_name(model: str) -> str:
    """Return the family of a plain model name: its leading letters (``claude``, ``gpt``, ``kimi``)."""
    found = _FAMILY.match(model)
    return found.group() if found else ""


@lru_cache(maxsize=4096)
def place_of(base_url: str) -> tuple[str, str]:
    """Return ``(provider, endpoint kind)`` of a base URL; ``("unknown", "*")`` for a host nobody knows."""
    host = (urlsplit(base_url).hostname or "").lower()
    for pattern, provider in _HOSTS:
        if pattern.fullmatch(host):
            return provider, f"bedrock-{_plane(host)}" if provider == "aws" else "*"
    return "unknown", "*"


def _plane(host: str) -> str:
    return "mantle" if host.startswith("bedrock-mantle") else "runtime"
