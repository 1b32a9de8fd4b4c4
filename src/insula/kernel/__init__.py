"""Ids, errors, time, randomness, money, durable files: what every room stands on. Imports nothing of ours."""
