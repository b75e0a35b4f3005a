"""Make the learners' notebooks from the solved ones, and grade what comes back."""

import sys

# nbformat validates with jsonschema, which compiles the grammars of this package when it is there, as it is beside
# JupyterLab: 0.8 seconds in each grading process, for a format of strings that notebooks do not have.
sys.modules.setdefault("rfc3987_syntax", None)
