"""The least agent: reads its input, answers, leaves a result and an artifact."""

import json
import os
import sys
from pathlib import Path

question = sys.stdin.read().strip() or "nobody"
print(f"hello {question}")

Path(os.environ["INSULA_RESULT"]).write_text(json.dumps({"greeted": question}))
artifacts = Path(os.environ["INSULA_ARTIFACTS"])
artifacts.mkdir(exist_ok=True)
(artifacts / "greeting.txt").write_text(f"hello {question}\n")
