"""What a call will use, guessed before it runs; what its budgets must bear, and what they do bear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insula.gateway.turnstiles import fair_cost
from insula.governance import Amounts, Estimator, Hard, Need
from insula.governance.stores import LimitStore
from insula.kernel.errors import Denied
from insula.usage import Tokens

if TYPE_CHECKING:
    from insula.gateway.admission import Admission

_LEAST_STEP = 64
_GUESS_US = 1_000  # too little is put right when the call ends; too much would let its tenant lead for long


class Estimating:
    """Learns from calls that ended what the next ones will do."""

    def __init__(self, estimator: Estimator, limits: LimitStore) -> None:
        self._estimator = estimator
        self._limits = limits

    def estimate(self, admission: Admission) -> None:
        """Say what the call will probably use, and what its budgets must bear.

        Raises ``Denied`` where a budget of money cannot bound it, because nobody knows its price.
        """
        ask, scope = admission.ask, admission.scope
        assert ask.output is not None
        strict = self._limits.strict(scope)
        read = self._estimator.input(scope.learning, ask.model, ask.input_tokens)
        each = self._estimator.output(scope.learning, ask.model, ask.output, strict=strict)
        produced = each * ask.copies
        quota, read_quota, produced_quota = admission.valuation.burn.parts(read, output=produced)
        charge = Amounts(0, read_quota, read_quota, 0, 0)
        estimate = Amounts(1, quota, read_quota, produced_quota, 0)
        admission.read, admission.reserved_output = read, produced
        admission.need = Need(estimate, charge=charge, run=admission.identity.run)
        admission.bounded = self._limits.budgeted(scope)
        if admission.bounded:
            self._budget(admission, produced)

    def expected_cost(self, admission: Admission) -> tuple[int, bool]:
        """Return what a call is expected to cost where it queues, and whether that is a mere guess."""
        scope, model = admission.scope, admission.ask.model
        likely = self._estimator.expected(scope.learning, model, admission.reserved_output)
        held_us = self._estimator.duration_us(scope.learning, model)
        tokens = Tokens(input=admission.read, output=likely)
        return fair_cost(admission, tokens, held_us or _GUESS_US), held_us == 0

    def bound(self, admission: Admission) -> int | None:
        """Return the most output that the budgets bear; ``None``: there is none.

        A call that states its bound, or whose answer comes as a whole, is bounded to it before it is sent;
        a stream may ask for more as it goes.
        """
        if not admission.bounded:
            return None
        ask = admission.ask
        assert ask.output is not None
        borne = self.borne(admission, admission.hard)
        if ask.stated or not ask.stream:
            each = max(1, borne // ask.copies)
            if each < ask.output:
                ask.clamp(each)
        return borne

    def borne(self, admission: Admission, held: Hard) -> int:
        """Return the most output of a call that budgets which hold ``held`` bear."""
        admission.hard = held
        read, ceiling = admission.ask.input_bound, ceiling_of(admission)
        whole = admission.valuation.hard(read, ceiling)
        if whole.quota <= held.quota and whole.nanousd <= held.nanousd:
            return ceiling
        return admission.valuation.most_output(read, held, ceiling)

    def ahead(self, admission: Admission) -> int:
        """Return by how many tokens of output a stream's hold is raised at a time."""
        return max(_LEAST_STEP, admission.reserved_output // 2)

    def more(self, admission: Admission, bound: int) -> Hard:
        """Return what budgets must hold on top, so that a stream may go on beyond ``bound``."""
        further = min(ceiling_of(admission), bound + self.ahead(admission))
        want, held = admission.valuation.hard(admission.ask.input_bound, further), admission.hard
        return Hard(max(0, want.quota - held.quota), max(0, want.nanousd - held.nanousd))

    def learn(self, admission: Admission, tokens: Tokens, held_us: int) -> None:
        """Take in what a call did that ended well; its length not, if our own bound cut it short."""
        ask, scope = admission.ask, admission.scope
        per_answer = -(-tokens.output // ask.copies)
        self._estimator.observe(scope.learning, ask.model, held_us)
        if ask.stated or not ask.clamped or per_answer < (ask.output or 0):
            self._estimator.learn(
                scope.learning, ask.model, per_answer, guess=ask.input_tokens, read=tokens.input
            )

    def _budget(self, admission: Admission, produced: int) -> None:
        """Ask the budgets for all the call may use if its caller said how much, else for what is likely.

        A caller that set a bound gets what is left, however little. Of the others none is sent that would
        probably be cut to less than half of its answer.
        """
        ask, valuation = admission.ask, admission.valuation
        if not valuation.price.known and self._limits.pays(admission.scope):
            raise Denied(
                f"nobody knows what {ask.model} costs, so a budget of money cannot bound it",
                hint="the operator must give its price (setting prices), or lift the budget",
                field="model",
                rule="price.unknown",
            )
        cap = valuation.hard(ask.input_bound, ceiling_of(admission))
        if ask.stated:
            want, useful = cap, ask.copies
        else:
            want = valuation.hard(ask.input_bound, produced)
            known = self._estimator.knows(admission.scope.learning, ask.model)
            useful = max(ask.copies, produced // 2 if known else 0)
        least = valuation.hard(ask.input_bound, useful)
        admission.need = admission.need._replace(cap=cap, want=want, least=least)


def ceiling_of(admission: Admission) -> int:
    """Return the most output that all answers of a call may have together."""
    assert admission.ask.output is not None
    return admission.ask.output * admission.ask.copies
