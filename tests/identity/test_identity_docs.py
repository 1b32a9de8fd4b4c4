"""The documentation lists the scopes and reasons that exist, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from insula.identity import scopes_table
from insula.tenancy import TenantState

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "identity.md").read_text()


def test_the_table_of_scopes_is_current() -> None:
    found = re.search(r"<!-- scopes -->\n(.*?)<!-- /scopes -->", TEXT, re.DOTALL)
    assert found and found[1].strip() == scopes_table().strip()


def test_every_reason_for_refusing_a_token_is_explained() -> None:
    code = "".join((ROOT / "src/insula/identity" / name).read_text() for name in ("claims.py", "verifier.py"))
    raised = set(re.findall(r'Refused\("(\w+)"\)', code)) | {str(s) for s in TenantState} - {"active"}
    explained = set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", TEXT, re.MULTILINE))
    assert raised == explained
