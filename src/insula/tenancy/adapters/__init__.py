"""Homes of the registry."""
