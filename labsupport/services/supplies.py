"""What lessons need of what does not come with the course: bring it, and say before how much it is."""

from __future__ import annotations

from collections.abc import Sequence

from labsupport import environment
from labsupport.services import jars, java, sources

# What pip downloads for an extra, in MB, where it is worth speaking of (Linux, x86_64).
DOWNLOAD_MB = {
    "spark": 450,
    "dynamodb": 35,
    "jre": 33,
    "dev": 60,
    "kafka": 5,
    "cassandra": 5,
    "celery": 3,
    "thrift": 2,
    "tansu": 15,
}
OTHER_MB = 1
LINE_MB_S = 5  # a good line of a home, and a bad one of a university
BUILD_S = 150  # Spark's package comes as a source package, which pip packs once more


def announcement(extras: Sequence[str]) -> str:
    """What is missing of these extras and of the JARs, as one sentence; "" if nothing is."""
    missing = [name for name in extras if not environment.has(name)]
    packages = sum(DOWNLOAD_MB.get(name, OTHER_MB) for name in missing)
    files = {jar.path: jar.size for system, pin in sources.PINS.items() if pin.java for jar in jars.missing(system)}
    java = sum(files.values()) // 1_000_000
    if not packages + java:
        return ""
    seconds = (packages + java) / LINE_MB_S + (BUILD_S if "spark" in missing else 0)
    parts = [f"{packages} MB of Python packages" if packages else "", f"{java} MB of JARs" if java else ""]
    spark = ", with the time in which pip builds Spark's package" if "spark" in missing else ""
    return (
        f"{' and '.join(filter(None, parts))} to download: at {LINE_MB_S} MB/s about {max(1, round(seconds / 60))} "
        f"minute{'s' * (round(seconds / 60) > 1)}{spark}."
    )


def bring(lesson: str) -> None:
    """Install and fetch what a lesson's first run would, for where it is going to run without a network.

    Raises:
        SetupError: something cannot be had.
    """
    for system, pin in sources.PINS.items():
        if lesson in pin.lessons:
            sources.bring(system)
            if pin.java:
                java.find(*pin.java, pin.title)
                jars.fetch(system)
    if lesson == "03":
        environment.add("thrift")  # a library, and so none of the systems
