"""Homes of wrapped keys and platform secrets."""
