"""The exercises: what they ask, how they are checked, and what a notebook calls to do so."""
