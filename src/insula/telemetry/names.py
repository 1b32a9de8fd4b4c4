"""Names of the OpenTelemetry semantic conventions for generative AI, as of 2026, kept here and nowhere else.

They are in development in a repository of their own, and the constants on PyPI still carry older names
(``cache_creation``, ``gen_ai.client.token.usage``, ``gen_ai.system``). What the conventions have no name for
(tenants, cost, quota, queues) stands under ``insula``.
"""

from __future__ import annotations

from typing import Final

from insula.usage import UsageEvent

# attributes
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
MODALITY: Final = "gen_ai.token.modality"
AGENT: Final = "gen_ai.agent.name"
TOOL: Final = "gen_ai.tool.name"
ERROR: Final = "error.type"

# metrics
USED_INPUT: Final = "gen_ai.client.inference.usage.input_tokens"
USED_OUTPUT: Final = "gen_ai.client.inference.usage.output_tokens"
USED_CACHE_READ: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
USED_CACHE_WRITE: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
USED_REASONING: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
INPUT_SIZE: Final = "gen_ai.client.inference.operation.input_tokens"
OUTPUT_SIZE: Final = "gen_ai.client.inference.operation.output_tokens"
DURATION: Final = "gen_ai.client.inference.duration"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
INVOKE_DURATION: Final = "gen_ai.invoke_agent.duration"
INVOKE_CALLS: Final = "gen_ai.invoke_agent.inference_calls"

INVOKE: Final = "invoke_agent"

# our own
TENANT: Final = "insula.tenant.id"
APP: Final = "insula.app.id"
USER: Final = "insula.user.id"
RUN: Final = "insula.run.id"
PARENT_RUN: Final = "insula.parent_run.id"
REQUEST: Final = "insula.request.id"
ENDPOINT: Final = "insula.endpoint"
ATTEMPT: Final = "insula.attempt"
LANE: Final = "insula.lane"
QUEUE_MS: Final = "insula.queue.ms"
SOURCE: Final = "insula.usage.source"
COST: Final = "insula.cost.nanousd"
PRICES: Final = "insula.price.version"
QUOTA: Final = "insula.quota.tokens"
BURN: Final = "insula.burn.version"
QUEUE_DURATION: Final = "insula.queue.duration"
CALLS: Final = "insula.calls"

_OPERATIONS = {"llm": "chat", "embedding": "embeddings", "tool": "execute_tool", "sandbox": "execute_tool"}
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "x-ai": "x_ai",
}


def operation(event: UsageEvent) -> str:
    """Return what the conventions call the kind of work that ``event`` bills."""
    return _OPERATIONS[event.kind]


def provider(event: UsageEvent) -> str:
    """Return the provider by the name that the conventions have for it, if they have one."""
    return _PROVIDERS.get(event.provider, event.provider)


def error(event: UsageEvent) -> str | None:
    """Return how a call broke off; ``None`` if it ended whole or at a budget."""
    return None if event.stream_end in {"ok", "length"} else event.stream_end
