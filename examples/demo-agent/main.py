"""A curious agent: does honest work first, then tries everything it should not be able to do.

Input: JSON with ``tenant`` and ``other`` (their names), ``home`` (where the platform keeps its state: it is
told, so that ignorance can't pass for a wall), ``model`` and ``forbidden_model``.
Result: what it wrote, and for every attempt why it was refused, or what it got hold of.
"""

import json
import os
import sys
from pathlib import Path

import attempts
from openai import OpenAI

WORK = Path("/work")
RESULT = Path(os.environ["INSULA_RESULT"])


def main() -> None:
    task = json.load(sys.stdin)
    client = OpenAI(max_retries=5)
    text, usage = complete(client, task["model"], f"{task['tenant'].title()} is a company that makes")
    diary = remember(task["tenant"], text)
    outcome = {
        "text": text,
        "usage": usage,
        "diary_bytes": len(diary),
        "refused": {},
        "breached": {},
    }
    for name, attempt in attempts.all_of(task, client).items():
        try:
            outcome["refused"][name] = attempt()
            print(f"{name}: refused, {outcome['refused'][name]}", flush=True)
        except attempts.BreachError as breach:
            outcome["breached"][name] = str(breach)
            print(f"{name}: NOT REFUSED, {breach}", flush=True)
    RESULT.write_text(json.dumps(outcome))
    sys.exit(1 if outcome["breached"] else 0)


def complete(client: OpenAI, model: str, prompt: str) -> tuple[str, dict[str, int]]:
    """Stream one completion from a real model, printing it as it comes."""
    print(prompt, end="", flush=True)
    parts, usage = [], {}
    stream = client.completions.create(
        model=model,
        prompt=prompt,
        max_tokens=24,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.text.replace("\n", " "), end="", flush=True)
            parts.append(choice.text)
        if chunk.usage:
            usage = {"input": chunk.usage.prompt_tokens, "output": chunk.usage.completion_tokens}
    print(flush=True)
    return "".join(parts), usage


def remember(tenant: str, text: str) -> str:
    """Write to the workspace and read it back. The diary is what the other tenant will look for."""
    page = f"{attempts.marker(tenant)}\n{text}\n"
    diary = WORK / "diary.txt"
    diary.write_text(page)
    if diary.read_text() != page:
        raise SystemExit("the workspace did not keep what was written")
    print("workspace: written and read back", flush=True)
    return page


main()
