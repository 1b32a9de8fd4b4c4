"""A model call as asked for: parsed, checked, narrowed to what may be used, written again. Pure.

What goes upstream is written from what was checked, never the caller's bytes: two parsers may read one
text differently (a key that comes twice), and then the wrong one would have been checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

from insula.gateway.json_text import read_object, write_object
from insula.governance import input_tokens
from insula.kernel.errors import InvalidRequest
from insula.models.entitlements import Allowance

DEFAULT_OUTPUT = 4096
_MOST_OUTPUT = 10_000_000
_MOST_COPIES = 128
_PART_TOKENS = 256  # an image, sound or file: its bytes say nothing about its tokens
_MESSAGE_TOKENS = 4
_BYTES_PER_TOKEN = 4
_TEMPLATE_TOKENS = 32  # what a server's template may put around a conversation
_BOUNDS = ("max_completion_tokens", "max_tokens")

# Fields of particular servers that would go around a bound or reach what other tenants share.
_STRIPPED = (
    "cache_salt", "nvext", "kv_transfer_params", "priority", "n_predict", "max_new_tokens", "max_length",
    "cache_prompt", "id_slot", "slot_id", "n_cache_reuse", "n_keep", "lora", "t_max_predict_ms",
)  # fmt: skip


class Route(Enum):
    """The calls that the gateway governs, with their path on the server."""

    CHAT = b"/chat/completions"
    COMPLETIONS = b"/completions"


@dataclass(slots=True)
class Ask:
    """One call. ``copies`` is how many answers it wants, ``input_tokens`` an estimate.

    ``input_bound`` is more than the input can have: no tokenizer makes more tokens than bytes, and what a
    chat template adds is small. ``output`` bounds one answer; ``stated`` says that the caller chose it.
    """

    route: Route
    payload: dict[str, Any]
    model: str
    stream: bool
    usage_wanted: bool
    output: int | None
    copies: int
    input_tokens: int
    input_bound: int
    stated: bool = False
    clamped: bool = False

    @classmethod
    def parse(cls, route: Route, body: bytes) -> Ask:
        """Read a request body. Raises ``InvalidRequest`` naming the field."""
        payload = _load(body)
        model = payload.get("model")
        if not isinstance(model, str) or not model:
            _wrong("model", "name the model as text, as in GET /v1/models")
        stream = payload.get("stream")
        if stream is not None and not isinstance(stream, bool):
            _wrong("stream", "use true or false")
        if route is Route.CHAT:
            prompts, tokens = 1, _chat_tokens(payload.get("messages"), payload.get("tools"))
        else:
            prompts, tokens = _prompt_tokens(payload.get("prompt"))
        copies = max(_copies(payload, "n"), _copies(payload, "best_of")) * prompts
        output = _output(payload)
        return cls(
            route, payload, model, bool(stream), _usage_wanted(payload), output, copies, tokens,
            _input_bound(body, tokens), output is not None,
        )  # fmt: skip

    def fit(self, allowance: Allowance) -> int:
        """Narrow the output to ``allowance``; return the most tokens that one answer may have.

        Raises ``InvalidRequest`` (``context_length_exceeded``) if the input alone is too long.
        """
        bound = allowance.max_output
        output = self.output if self.output is not None else min(DEFAULT_OUTPUT, bound or DEFAULT_OUTPUT)
        allowed = output if bound is None else min(output, bound)
        context = allowance.max_context
        if context is not None:
            if self.input_tokens >= context:
                raise InvalidRequest(
                    f"the input is about {self.input_tokens} tokens, the context {context}",
                    hint="shorten the input, or ask for a larger context",
                    field="messages" if self.route is Route.CHAT else "prompt",
                    code="context_length_exceeded",
                )
            allowed = min(allowed, context - self.input_tokens)
        self.clamped = self.output is not None and allowed < self.output
        self.output = allowed
        return allowed

    def clamp(self, output: int) -> None:
        """Bound each answer to ``output`` tokens: all that a policy allows, or a budget bears."""
        if self.output is None or output < self.output:
            self.output = output
            self.clamped = True

    def upstream_body(self, output_field: str) -> bytes:
        """Return the body for the server: bounds set, usage asked for, dangerous fields gone."""
        payload = self.payload
        for name in _STRIPPED:
            if name in payload:
                del payload[name]
        if self.stream:
            options = payload.get("stream_options")
            payload["stream_options"] = (
                {**options, "include_usage": True} if options else {"include_usage": True}
            )
        given = [name for name in _BOUNDS if payload.get(name) is not None]
        for name in given or [output_field]:
            payload[name] = self.output
        try:
            return write_object(payload)
        except (ValueError, RecursionError):
            _wrong("body", "use finite numbers and less nesting")


def _load(body: bytes) -> dict[str, Any]:
    payload = read_object(body)
    if payload is None:
        raise InvalidRequest("the body is not a JSON object", hint="send JSON, UTF-8", field="body")
    return payload


def _wrong(field: str, hint: str) -> NoReturn:
    raise InvalidRequest(f"{field} is missing or not what it should be", hint=hint, field=field)


def _usage_wanted(payload: dict[str, Any]) -> bool:
    options = payload.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict) or not isinstance(options.get("include_usage", False), bool):
        _wrong("stream_options", 'use {"include_usage": true}')
    return options.get("include_usage", False) is True


def _output(payload: dict[str, Any]) -> int | None:
    """Return the tightest output bound given, if any."""
    tightest: int | None = None
    for name in _BOUNDS:
        value = payload.get(name)
        if value is None:
            continue
        if type(value) is not int or not 1 <= value <= _MOST_OUTPUT:
            _wrong(name, f"use a whole number from 1 to {_MOST_OUTPUT}")
        tightest = value if tightest is None else min(tightest, value)
    return tightest


def _copies(payload: dict[str, Any], name: str) -> int:
    value = payload.get(name)
    if value is None:
        return 1
    if type(value) is not int or not 1 <= value <= _MOST_COPIES:
        _wrong(name, f"use a whole number from 1 to {_MOST_COPIES}")
    return value


def _input_bound(body: bytes, estimate: int) -> int:
    """Return a bound of the input in tokens.

    Text of plain ASCII has as many bytes as characters, which the estimate divided; other text may have
    more, but never more than the body.
    """
    plain = body.isascii() and b"\\u" not in body
    bound = estimate * _BYTES_PER_TOKEN
    return (bound if plain else max(bound, len(body))) + _TEMPLATE_TOKENS


def _chat_tokens(messages: Any, tools: Any) -> int:
    if not isinstance(messages, list) or not messages:
        _wrong("messages", "send a list with at least one message")
    size = parts = 0
    for message in messages:
        if not isinstance(message, dict):
            _wrong("messages", "every message is an object with role and content")
        content = message.get("content")
        if type(content) is str:
            size += len(content)
        else:
            text, others = _content(content)
            size, parts = size + text, parts + others
        if "tool_calls" in message:
            size += len(str(message["tool_calls"]))
    if tools:
        size += len(str(tools))
    return input_tokens(size) + len(messages) * _MESSAGE_TOKENS + parts * _PART_TOKENS


def _content(content: Any) -> tuple[int, int]:
    """Return (characters of text, other parts) of a message's content."""
    if content is None:
        return 0, 0
    if not isinstance(content, list):
        _wrong("messages", "content is text, a list of parts, or null")
    size = others = 0
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            size += len(text)
        else:
            others += 1
    return size, others


def _prompt_tokens(prompt: Any) -> tuple[int, int]:
    """Return (number of prompts, tokens) of a completion's prompt: text, tokens, or a list of either."""
    if isinstance(prompt, str):
        return 1, input_tokens(len(prompt))
    if not isinstance(prompt, list) or not prompt or len(prompt) > 100_000:
        _wrong("prompt", "send text, or a list of texts")
    if all(type(item) is int for item in prompt):
        return 1, len(prompt)
    if len(prompt) > _MOST_COPIES:
        _wrong("prompt", f"send at most {_MOST_COPIES} prompts at once")
    total = 0
    for item in prompt:
        if isinstance(item, str):
            total += input_tokens(len(item))
        elif isinstance(item, list) and item and all(type(token) is int for token in item):
            total += len(item)
        else:
            _wrong("prompt", "send text, or a list of texts")
    return len(prompt), total
