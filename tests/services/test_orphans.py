"""Nothing that a Python process started survives it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from labsupport.services import Redis, jars, reaper
from tests.services.owners import (
    CLUSTERS,
    JAVA,
    SINGLES,
    WORKERS,
    Owner,
    leftovers,
    processes_of,
    until,
    wait_until_nothing_is_left,
)

STARTED = "start_all(*services); tell([n.pid for s in services for n in s.nodes]); time.sleep(600)"
LIMIT_S = 5.0  # 2 s on a machine of its own; this one may be busy
REDIS = "services = [Redis()]; start_all(*services)"


def servers(root):
    return [name for name in leftovers(root) if "server" in name]


@pytest.mark.parametrize("group", [False, True], ids=["the owner", "its whole group, as a restarted kernel"])
def test_four_clusters_die_with(group, tmp_path):
    with Owner(tmp_path, f"{CLUSTERS}; {STARTED}") as owner:
        assert len(owner.hear()) == 12
        assert len(processes_of(tmp_path)) >= 12 + 3 + 1 + 2  # nodes, sentinels, port mapper, owner and guard
        owner.kill(group=group)
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_the_systems_written_in_java_die_with_the_owner(tmp_path):
    with Owner(tmp_path, f"{JAVA}; {STARTED}") as owner:
        assert len(owner.hear()) == 8
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_workers_with_their_pools_and_a_cluster_behind_a_relay_die_with_the_owner(tmp_path):
    with Owner(tmp_path, f"{WORKERS}; {STARTED}") as owner:
        assert len(owner.hear()) == 6
        assert len(processes_of(tmp_path)) >= 6 + 2 + 2 + 2  # nodes, pools, broker and store, owner and guard
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_an_owner_that_is_killed_while_an_archive_is_made_leaves_nothing_in_the_cache(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    jars.fetch("zookeeper")
    (cache / "jars").symlink_to(jars.directory())
    code = f"os.environ['LAB_CACHE_DIR'] = {str(cache)!r}; tell('now'); ZooKeeper().start()"
    with Owner(tmp_path, code) as owner:
        owner.hear()
        until(lambda: (cache / "java").is_dir() and list((cache / "java").iterdir()))
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)
        until(lambda: list((cache / "java").iterdir()) == [])


@pytest.mark.parametrize("after_ms", [0, 1, 3, 10, 20, 40, 80, 160, 320, 640, 1280, 2000])
def test_a_kill_in_the_middle_of_the_start_leaves_nothing(after_ms, tmp_path):
    with Owner(tmp_path, f"{SINGLES if after_ms % 20 else CLUSTERS}; tell('now'); {STARTED}") as owner:
        owner.hear()
        timer = threading.Timer(after_ms / 1000, owner.kill)
        timer.start()
        timer.join()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


@pytest.mark.parametrize(
    "ending",
    ["sys.exit()", "1 / 0", "os._exit(3)", "os.execv('/bin/sh', ['sh', '-c', ':'])", "services[0].stop()"],
    ids=["exit", "an exception", "os._exit", "exec", "stop"],
)
def test_an_owner_that_ends_by_itself_leaves_nothing(ending, tmp_path):
    with Owner(tmp_path, f"{REDIS}; tell('up'); sys.stderr = open(os.devnull, 'w'); {ending}") as owner:
        owner.hear()
        owner.process.wait(10)
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_the_guard_is_deaf_to_what_ends_others(tmp_path):
    with Owner(tmp_path, f"{REDIS}; tell([os.getpid(), reaper.guard_pid()]); time.sleep(600)") as owner:
        _, guard = owner.hear()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(guard, number)
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_a_guard_that_died_is_replaced_and_told_everything(tmp_path):
    code = f"""{REDIS}
os.kill(reaper.guard_pid(), 9)
while reaper.guard_pid() is not None: time.sleep(0.01)
services.append(Etcd().start())
tell([n.pid for s in services for n in s.nodes])
time.sleep(600)
"""
    with Owner(tmp_path, code) as owner:
        assert len(owner.hear()) == 2
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_the_next_start_finishes_what_a_killed_guard_could_not(tmp_path):
    with Owner(tmp_path, f"{REDIS}; tell(reaper.guard_pid()); time.sleep(600)") as owner:
        os.kill(owner.hear(), signal.SIGKILL)
        owner.kill()
        assert servers(tmp_path)  # so the test is not blind
        with Owner(tmp_path, "reaper.private_directory('next'); tell('here'); time.sleep(600)") as following:
            following.hear()
            until(lambda: not any(f"-{owner.process.pid}-" in path.name for path in tmp_path.glob("lab-*")))
            assert not servers(tmp_path)
            assert len(list(tmp_path.glob("lab-*"))) == 1, "the directory of the living owner stays"
            following.kill()
            wait_until_nothing_is_left(tmp_path, LIMIT_S)


@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.CDLL(None).fork()"], ids=["os.fork", "behind Python's back"])
def test_a_forked_child_that_lives_on_does_not_keep_the_services_alive(fork, tmp_path):
    code = f"""import ctypes
{REDIS}
if {fork} == 0:
    os.chdir('/'); time.sleep(600); os._exit(0)
tell(services[0].nodes[0].pid)
time.sleep(600)
"""
    with Owner(tmp_path, code) as owner:
        owner.hear()
        owner.kill()
        until(lambda: not servers(tmp_path) and not list(tmp_path.glob("lab-*")), LIMIT_S)


def test_a_forked_child_neither_stops_nor_kills_its_parents_services(tmp_path):
    code = f"""{REDIS}
from labsupport.errors import ServiceError
child = os.fork()
if child == 0:
    refused = False
    try: services[0].nodes[0].kill()
    except ServiceError: refused = True
    state = services[0].nodes[0].state
    services[0].stop()
    os._exit(0 if refused and state == "running" else 1)
status = os.waitpid(child, 0)[1]
tell([status, services[0].nodes[0].state])
"""
    with Owner(tmp_path, code) as owner:
        assert owner.hear() == [0, "running"]


def test_a_forked_childs_own_services_end_with_the_child(tmp_path):
    code = f"""{REDIS}
child = os.fork()
if child == 0:
    services = [Redis().start()]
    tell(services[0].nodes[0].pid)
    os.kill(os.getpid(), 9)
os.waitpid(child, 0)
tell(services[0].nodes[0].state)
time.sleep(600)
"""
    with Owner(tmp_path, code) as owner:
        orphan = owner.hear()
        assert owner.hear() == "running"
        until(lambda: orphan not in processes_of(tmp_path), LIMIT_S)
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_what_a_child_of_ours_started_as_a_daemon_is_found_by_its_mark(tmp_path):
    code = """import subprocess
p = subprocess.Popen(["sh", "-c", "setsid sh -c 'sleep 600 & sleep 601' & exit"], env=reaper.env(dict(os.environ)),
                     cwd="/", start_new_session=True)
reaper.private_directory("daemon"); reaper.adopt(p.pid); p.wait(); reaper.release(p.pid)
tell('started'); time.sleep(600)
"""
    with Owner(tmp_path, code) as owner:
        owner.hear()
        until(lambda: sum("sleep 60" in name for name in leftovers(tmp_path)) >= 2)
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_what_a_learners_program_started_is_found_by_both_guards(tmp_path):
    inner = "from labsupport import Redis; import time; s = Redis().start(); print(s.port, flush=True); time.sleep(600)"
    code = f"""import subprocess
p = subprocess.Popen([sys.executable, "-c", {inner!r}], env=reaper.env(dict(os.environ)), stdout=subprocess.PIPE,
                     start_new_session=True)
reaper.private_directory("outer"); reaper.adopt(p.pid)
tell(p.stdout.readline().decode()); time.sleep(600)
"""
    with Owner(tmp_path, code) as owner:
        owner.hear()
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)


def test_an_interrupt_of_the_notebook_misses_the_broker(tmp_path):
    code = f"""import signal
{REDIS}
interrupted = threading.Event()
signal.signal(signal.SIGINT, lambda *_: interrupted.set())
tell("up")
interrupted.wait()
tell("interrupted")
services[0]._probe(services[0].nodes[0], 5.0)
tell(services[0].nodes[0].state)
"""
    with Owner(tmp_path, code) as owner:
        assert owner.hear() == "up"
        os.killpg(owner.process.pid, signal.SIGINT)
        assert owner.hear() == "interrupted"
        assert owner.hear() == "running"


def test_a_private_directory_lets_nobody_else_in():
    directory = reaper.private_directory("test")
    assert directory.stat().st_mode & 0o777 == 0o700
    reaper.discard(directory)
    assert not directory.exists()


def test_a_released_group_is_left_alone(tmp_path):
    code = """import subprocess
p = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"]}, cwd="/", start_new_session=True)
reaper.adopt(p.pid); reaper.release(p.pid)
tell(p.pid); time.sleep(600)
"""
    with Owner(tmp_path, code) as owner:
        stranger = owner.hear()
        owner.kill()
        wait_until_nothing_is_left(tmp_path, LIMIT_S)
        os.kill(stranger, signal.SIGKILL)  # raises if it is gone


def test_stop_leaves_nothing_at_once():
    service = Redis().start()
    pid, directory = service.nodes[0].pid, service._directory
    service.stop()
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_guard_needs_nothing_but_the_standard_library():
    from labsupport.services import guard

    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"exec(open({guard.__file__!r}).read(), {{}})"], check=False
    )
    assert shown.returncode == 0
