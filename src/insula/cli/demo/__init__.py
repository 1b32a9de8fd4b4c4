"""``insula demo``: a platform in a temporary home, two tenants, and an agent that tries everything."""

from insula.cli.demo.curtain import run_demo

__all__ = ["run_demo"]
