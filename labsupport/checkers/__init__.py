"""Checkers: pure functions from a history to a finding, which says ok, violation or unknown and why."""
