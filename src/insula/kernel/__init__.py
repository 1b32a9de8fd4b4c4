"""Ids, errors, time, randomness, money: what every room stands on. Imports nothing of ours."""
