"""Completes a text with the unmodified OpenAI SDK, streaming, then once more in one piece.

No key and no address is written here: the SDK takes both from the environment. The local model is a small
base model: it continues a text, it does not follow instructions.
"""

import json
import os
import sys
from pathlib import Path

from openai import OpenAI

MODEL = os.environ.get("MODEL", "gemma-3-270m")

prompt = sys.stdin.read().strip() or "The capital of France is"
client = OpenAI()

print(prompt, end="", flush=True)
stream = client.completions.create(
    model=MODEL,
    prompt=prompt,
    max_tokens=24,
    temperature=0,
    stream=True,
    stream_options={"include_usage": True},
)
usage = None
for chunk in stream:
    usage = chunk.usage or usage
    for choice in chunk.choices:
        print(choice.text, end="", flush=True)
print()

whole = client.completions.create(model=MODEL, prompt=prompt, max_tokens=8, temperature=0)
result = {
    "streamed": usage.model_dump(include={"prompt_tokens", "completion_tokens"}) if usage else None,
    "whole": whole.choices[0].text,
}
Path(os.environ["INSULA_RESULT"]).write_text(json.dumps(result))
