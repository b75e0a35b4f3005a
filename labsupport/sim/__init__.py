"""The deterministic simulation: one seeded world, searches through many, and what they find."""
