"""The instructor's half: releasing lessons from solutions."""
