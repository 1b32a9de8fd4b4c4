"""Homes of keys, revocations and credentials."""
