"""Build distributed systems in Python, on real brokers, stores and processes.

The public names, imported when they are first used: ``import labsupport`` needs the standard library alone. Older
Pythons must be able to read this file, so that `labsupport.__main__` can say that they are too old.
"""

import importlib
import sys
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
    "ByHand": "sim.by_hand",
    "Cluster": "cluster.cluster",
    "explore": "search",
    "drawn": "spacetime",
    "HistoryPicture": "view.history_picture",
    "Panel": "view.panel",
    "LiveChart": "view.live_chart",
    "Assignment": "view.assignment",
    "HashRing": "view.hash_ring",
    "Latencies": "view.latencies",
    "Nats": "services",
    "Redis": "services",
    "RedisCluster": "services",
    "RabbitMQ": "services",
    "Etcd": "services",
    "Kafka": "services",
    "ZooKeeper": "services",
    "Cassandra": "services",
    "DynamoDB": "services",
    "Gearman": "services",
    "CeleryWorkers": "services",
    "Spark": "services",
    "Proxy": "services",
    "start_all": "services",
    "private_directory": "services.reaper",
    "doctor": "services.doctor",
    "check": "exercises.notebook",
    "replay": "exercises.notebook",
    "hint": "exercises.notebook",
    "predict": "exercises.notebook",
    "progress": "exercises.notebook",
    "what_you_saw": "exercises.notebook",
}

# What a notebook shows for an object that is the last value of a cell. The objects themselves know nothing of pictures.
_PICTURE_OF = {
    ("labsupport.trace", "Trace"): "view.spacetime_picture.SpaceTime",
    ("labsupport.sim.by_hand", "ByHand"): "view.by_hand.HandView",
    ("labsupport.history", "History"): "view.history_picture.HistoryPicture",
    ("labsupport.checkers.finding", "Finding"): "view.history_picture.HistoryPicture",
    ("labsupport.search", "Exploration"): "view.exploration.Explored",
    ("labsupport.search", "Finding"): "view.exploration.Explored",
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


def _show_pictures() -> None:
    """Let IPython, if that is where we are, draw our objects; what draws is imported when it is needed."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return

    def drawing(home: str) -> Any:
        module, name = home.rsplit(".", 1)
        return lambda shown: getattr(importlib.import_module(f"labsupport.{module}"), name)(shown)._repr_mimebundle_()

    bundles = shell.display_formatter.mimebundle_formatter
    for (module, name), home in _PICTURE_OF.items():
        bundles.for_type_by_name(module, name, drawing(home))


_show_pictures()
