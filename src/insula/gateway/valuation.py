"""How the tokens of one call become quota tokens and money. Pure; fixed when the call is admitted.

Rates that change while a call runs do not change what was reserved for it: it is settled at those it was
admitted at, so that what a budget held covers what the call costs.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from insula.governance import Amounts, Hard
from insula.governance.burndown import Burn
from insula.usage import Tokens


class Price(Protocol):
    """What tokens cost, in nano-dollars, and by which price list."""

    @property
    def known(self) -> bool: ...

    @property
    def version(self) -> str: ...

    def __call__(self, tokens: Tokens) -> tuple[int, str]: ...


class Valuation(NamedTuple):
    """The burndown and the price of a call's model at its endpoint."""

    burn: Burn
    price: Price

    def used(self, tokens: Tokens) -> Amounts:
        """Return what a call that used ``tokens`` is debited (its request was counted when it was sent)."""
        parts = self.burn.parts(tokens.input, tokens.cache_read, tokens.cache_write, tokens.output)
        return Amounts(0, *parts, self.price(tokens)[0])

    def hard(self, read: int, produced: int) -> Hard:
        """Return what budgets must bear for so many tokens of input and output, none of them cached."""
        return Hard(
            self.burn.quota(read, output=produced), self.price(Tokens(input=read, output=produced))[0]
        )

    def most_output(self, read: int, held: Hard, ceiling: int) -> int:
        """Return the most output tokens, up to ``ceiling``, that ``held`` bears beside ``read`` of input."""
        least, most = 0, ceiling
        while least < most:
            middle = (least + most + 1) // 2
            need = self.hard(read, middle)
            if need.quota <= held.quota and need.nanousd <= held.nanousd:
                least = middle
            else:
                most = middle - 1
        return least
