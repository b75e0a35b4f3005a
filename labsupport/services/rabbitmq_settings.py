"""What RabbitMQ is told when it starts: environment variables and arguments, never a file.

An empty configuration file would already cost it a tenth of a second, and the machine's own configuration (in
/etc/rabbitmq) must not leak into a lesson. See
https://www.rabbitmq.com/docs/configure#supported-environment-variables.
"""

from __future__ import annotations

from pathlib import Path

from labsupport.services.erlang import Erlang

# What is not heard for so long counts as gone; the default, a minute, is longer than a lesson waits. A machine that is
# very busy is silent for a second or two.
TICK_S = 8


def cluster(size: int, *, partitions: bool = False) -> list[str]:
    """All nodes start at once and look for each other, but only once.

    Each further look would cost half a second under a lock of the whole cluster, and a random pause for the others.
    """
    names = ",".join(f"'rabbit-{index}@localhost'" for index in range(size))
    formation = "[{discovery_retry_limit,1},{discovery_retry_interval,10}]"
    flags = ["-rabbit", "cluster_nodes", f"{{[{names}],disc}}", "cluster_formation", formation]
    if partitions:
        flags += ["-rabbit", "cluster_partition_handling", "pause_minority", "-kernel", "net_ticktime", str(TICK_S)]
    return flags


def variables(directory: Path, name: str, port: int, distribution: str) -> dict[str, str]:
    """RabbitMQ's own variables: everything below `directory`, and no configuration file that exists."""
    files = {
        "RABBITMQ_MNESIA_BASE": "mnesia",
        "RABBITMQ_LOG_BASE": "logs",
        "RABBITMQ_PID_FILE": "pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": "enabled_plugins",
        "RABBITMQ_CONFIG_FILE": "none.conf",
        "RABBITMQ_CONFIG_FILES": "none.d",
        "RABBITMQ_ADVANCED_CONFIG_FILE": "none.config",
        "RABBITMQ_CONF_ENV_FILE": "none-env.conf",
        "RABBITMQ_GENERATED_CONFIG_DIR": "generated",
        "RABBITMQ_SCHEMA_DIR": "schema",
        "ERL_CRASH_DUMP": "crash.dump",
    }
    return {
        **{variable: str(directory / file) for variable, file in files.items()},
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": distribution,
        "RABBITMQ_LOGS": "-",  # to standard output, so into our log
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": "1",  # refuses at once; anything that accepts and is not epmd would hang the start
        "ERL_CRASH_DUMP_SECONDS": "0",
        # RabbitMQ looks every 60 s whether the port mapper is there, with a small node that would start a daemon.
        "ERL_AFLAGS": "-start_epmd false",
    }


def emulator(found: Erlang, plugins: str) -> dict[str, str]:
    """What the start script would set."""
    return {
        "ROOTDIR": found.root,
        "BINDIR": found.bin,
        "EMU": "beam",
        "PROGNAME": "erl",
        "SYS_PREFIX": "",
        "ERL_LIBS": plugins,
        "RABBITMQ_PLUGINS_DIR": plugins,
        "ERL_MAX_ETS_TABLES": "50000",
        "ERL_MAX_PORTS": "4096",
    }


def machine_flags(directory: Path, name: str) -> list[str]:
    """Flags of the virtual machine and settings of its applications."""
    flags = [
        "-noinput",
        "-noshell",
        "+W",
        "w",
        "+P",
        "65536",
        "+t",
        "1048576",
        "+sbwt",
        "none",
        "+sbwtdcpu",
        "none",
        "+sbwtdio",
        "none",
        "+B",
        "i",
    ]
    # The distribution is up before RabbitMQ looks for it: it then does not start a second machine to wake the port
    # mapper.
    flags += ["-sname", name, "-start_epmd", "false"]
    settings = {
        "kernel": {
            "inet_dist_use_interface": "{127,0,0,1}",
            "prevent_overlapping_partitions": "false",
            "inetrc": f'"{directory}/inetrc"',
        },
        "os_mon": {"start_disksup": "false", "start_memsup": "false", "start_cpu_sup": "false"},
        "syslog": {"logger": "[]", "syslog_error_logger": "false"},
    }
    for application, values in settings.items():
        for key, value in values.items():
            flags += [f"-{application}", key, value]
    return flags
