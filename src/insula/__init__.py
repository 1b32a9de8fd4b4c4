"""Insula: many tenants' agents on shared infrastructure, walled off from each other."""

__version__ = "0.1.0"
