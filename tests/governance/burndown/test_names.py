"""The many spellings of one model and one provider."""

import pytest

from insula.governance.burndown import place_of
from insula.governance.burndown.names import family_name, model_name, provider_name


@pytest.mark.parametrize(
    "spelt",
    [
        "claude-opus-4-8",
        "claude-opus-4.8",
        "Claude-Opus-4-8",
        "claude-opus-4-8-20260301",
        "claude-opus-4-8@20260301",
        "claude-opus-4-8-latest",
        "claude-opus-4-8[1m]",
        "claude-4-8-opus",
        "anthropic/claude-opus-4.8",
        "anthropic.claude-opus-4-8",
        "anthropic.claude-opus-4-8-20260301-v1:0",
        "us.anthropic.claude-opus-4-8-20260301-v1:0",
        "global.anthropic.claude-opus-4-8-v1",
        "us-gov.anthropic.claude-opus-4-8-20260301-v1:0:200k",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-8-20260301-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-8-20260301-v1:0",
        "bedrock/converse/us.anthropic.claude-opus-4-8",
    ],
)
def test_one_model_has_one_name(spelt: str) -> None:
    assert model_name(spelt) == "claude-opus-4-8"


@pytest.mark.parametrize(
    ("spelt", "name", "family"),
    [
        ("gpt-5.6-sol", "gpt-5-6-sol", "gpt"),
        ("openai.gpt-5.6-sol", "gpt-5-6-sol", "gpt"),
        ("gpt-4o-2024-08-06", "gpt-4o", "gpt"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4", "claude"),
        ("claude-3-7-sonnet-20250219", "claude-sonnet-3-7", "claude"),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "claude-haiku-3-5", "claude"),
        ("amazon.nova-pro-v1:0:300k", "nova-pro", "nova"),
        ("meta.llama3-3-70b-instruct-v1:0", "llama3-3-70b-instruct", "llama"),
        ("llama3.3-70b", "llama3-3-70b", "llama"),
        ("moonshotai.kimi-k3", "kimi-k3", "kimi"),
        ("4chan", "4chan", ""),
        ("", "", ""),
    ],
)
def test_different_models_stay_different(spelt: str, name: str, family: str) -> None:
    assert (model_name(spelt), family_name(name)) == (name, family)


@pytest.mark.parametrize(
    ("spelt", "name"),
    [("aws.bedrock", "aws"), ("Amazon-Bedrock", "aws"), ("gcp.gemini", "gemini"), ("x", "x")],
)
def test_providers_have_one_word(spelt: str, name: str) -> None:
    assert provider_name(spelt) == name


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", ("aws", "bedrock-runtime")),
        ("https://bedrock-mantle.us-east-1.api.aws/v1", ("aws", "bedrock-mantle")),
        ("https://api.anthropic.com/v1", ("anthropic", "*")),
        ("https://acme.openai.azure.com/openai/v1", ("azure", "*")),
        ("https://api.openai.com/v1", ("openai", "*")),
        ("https://api.openai.com.example.org/v1", ("unknown", "*")),
        ("http://127.0.0.1:8000/v1", ("unknown", "*")),
    ],
)
def test_an_address_tells_the_provider(url: str, place: tuple[str, str]) -> None:
    assert place_of(url) == place
