"""Burndown: how many quota tokens a call costs at its provider, as dated data.

Quota is not money. A provider that debits ten quota tokens for each token of output still bills one; neither
figure is ever derived from the other.
"""

from insula.governance.burndown.burn import Burn, Confidence
from insula.governance.burndown.loading import load
from insula.governance.burndown.names import place_of
from insula.governance.burndown.row import Row
from insula.governance.burndown.table import Burndown

__all__ = ["Burn", "Burndown", "Confidence", "Row", "load", "place_of"]
