"""How commands are grouped, found and listed: sections in the help, a guess for a misspelt word."""

from __future__ import annotations

from typing import Any

from typer import Context
from typer.core import TyperGroup

from insula.cli.anywhere import to_front

SECTIONS = {
    "Start here": ("demo", "up", "doctor"),
    "Tenants and agents": ("tenant", "tier", "agent", "runtime", "run", "why"),
    "Models and limits": ("endpoint", "entitle", "limit", "policy", "fairness", "key", "sim"),
    "Usage and cost": ("usage", "invoice", "cost", "ledger"),
    "Trust": ("audit", "token", "exit-codes"),
}

ALIASES = {"limits": "limit"}
"""Second names, which the help does not list."""


class NounGroup(TyperGroup):
    """A group whose commands keep the order they were written in."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)


class RootGroup(NounGroup):
    """The whole program: takes its options anywhere, and lists its commands by what one wants to do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, to_front(args))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in self.commands)
        for section, names in SECTIONS.items():
            rows = [(name.ljust(width), self.commands[name].get_short_help_str(80)) for name in names]
            with formatter.section(section):
                formatter.write_dl(rows)


class RunGroup(NounGroup):
    """``insula run TENANT/AGENT`` starts a run; every other first word is a command of the group."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:  # type: ignore[override]
        first = args[0] if args else ""
        starts = "/" in first or (first.startswith("-") and first not in {"-h", "--help"})
        return super().parse_args(ctx, ["start", *args] if starts else args)
