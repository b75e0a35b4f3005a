"""Build distributed systems in Python, on real brokers, stores and processes.

The public names, imported when they are first used: ``import labsupport`` needs the standard library alone. Older
Pythons must be able to read this file, so that `labsupport.__main__` can say that they are too old.
"""

import importlib
from typing import Any

_HOME_OF = {
    "LabError": "errors",
    "LearnerError": "errors",
    "SetupError": "errors",
    "ServiceError": "errors",
    "LabBug": "errors",
    "Outcome": "history",
    "Verdict": "history",
    "Node": "node",
    "message": "messages",
    "Error": "messages",
    "RequestFailed": "messages",
    "Faults": "faults",
    "Link": "faults",
    "Crash": "faults",
    "Pause": "faults",
    "Partition": "faults",
    "Skew": "faults",
    "Property": "sim.properties",
    "World": "sim.world",
    "Cluster": "cluster.cluster",
    "explore": "search",
    "drawn": "spacetime",
    "Nats": "services",
    "Redis": "services",
    "RabbitMQ": "services",
    "Etcd": "services",
    "start_all": "services",
    "doctor": "services.doctor",
    "check": "exercises.notebook",
    "replay": "exercises.notebook",
    "hint": "exercises.notebook",
    "predict": "exercises.notebook",
    "progress": "exercises.notebook",
    "what_you_saw": "exercises.notebook",
}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'labsupport' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"labsupport.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
