"""What a Linux kernel offers to shut a process in: namespaces, a root of its own, limits, no capabilities.

System calls through ctypes; an OSError names the call that was refused. See man 7 namespaces, man 2 pivot_root, man 7
capabilities. As root no user namespace is needed; others get one, where the kernel allows that.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

NEW_FILES, NEW_NAMES, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USER, NEW_PIDS, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_NO_NEW_PRIVS, _SET_DUMPABLE = 38, 4
DEVICES = ("null", "zero", "full", "random", "urandom")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
SETTINGS = ("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache", "localtime", "ssl", "ca-certificates")
SETTINGS += ("alternatives", "mime.types", "services", "protocols", "pki")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one process (`memory_mb`, `file_mb`, `open_files`, `cpu_s`) and all of one exercise may use."""

    memory_mb: int = 768
    total_mb: int = 1536
    file_mb: int = 64
    open_files: int = 512
    processes: int = 96
    cpu_s: int = 300
    scratch_mb: int = 256

    def apply(self) -> None:
        """Set the limits of this process and of those that it starts; never above those that it has."""
        mb = 1024 * 1024
        wanted = {
            resource.RLIMIT_DATA: self.memory_mb * mb,
            resource.RLIMIT_FSIZE: self.file_mb * mb,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_NPROC: self.processes,
            resource.RLIMIT_CPU: self.cpu_s,
            resource.RLIMIT_CORE: 0,
        }
        for what, value in wanted.items():
            hard = resource.getrlimit(what)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            try:
                resource.setrlimit(what, (value, value))
            except (OSError, ValueError):
                continue  # macOS refuses some


def _call(name: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` names for new ones; with NEW_USER we stay the same user in the new one."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", flags)
    if flags & NEW_USER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def own_network() -> None:
    """A network of our own that has nothing but the loopback interface."""
    unshare(NEW_NETWORK | (0 if os.geteuid() == 0 else NEW_USER))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def own_root(shown: Sequence[str], scratch: str, place: str) -> list[str]:
    """A root directory of our own: the system's programs and the paths `shown`, read only, and nothing else.

    Args:
        shown: files and directories.
        scratch: where `own_scratch` will put its empty place.
        place: an empty directory, for the time of the call.

    Returns:
        Those of the shown paths that are below `scratch`; `own_scratch` shows them.
    """
    unshare(NEW_FILES | (0 if os.geteuid() == 0 else NEW_USER))
    with contextlib.suppress(OSError):
        Path("/proc/sys/user/max_user_namespaces").write_text("0") if os.geteuid() else None
    _mount("none", "/", "", _REC | _PRIVATE)
    root = Path(place)
    _mount("root", root, "tmpfs", _NOSUID | _NODEV, "size=4m,mode=755")
    for path in [*SYSTEM, *(f"/etc/{name}" for name in SETTINGS), *(f"/dev/{name}" for name in DEVICES), "/proc"]:
        if os.path.islink(path) and path in SYSTEM:
            (root / path[1:]).symlink_to(os.readlink(path))
        elif os.path.exists(path):
            _show(path, root / path[1:], writable=path == "/proc" or path.startswith("/dev/"))
    outermost: list[str] = []
    for path in sorted(set(shown)):
        if not path.startswith(tuple(f"{other}/" for other in [*SYSTEM, *outermost])):
            outermost.append(path)
            _show(path, root / _stashed(path, scratch)[1:])
    for name in (".old", "dev/shm", scratch[1:]):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "dev/fd").symlink_to("/proc/self/fd")
    _pivot(root)
    return [path for path in outermost if _stashed(path, scratch) != path]


def fork_first() -> int:
    """Fork the first process of new namespaces for processes, files, messages and names; else as `os.fork`.

    The raw system call, because with unshare(2) it takes another process in between.
    """
    libc, python = ctypes.PyDLL(None, use_errno=True), ctypes.pythonapi
    python.PyOS_BeforeFork()
    flags = NEW_FILES | NEW_PIDS | NEW_IPC | NEW_NAMES | signal.SIGCHLD
    pid = libc.syscall(_CLONE[os.uname().machine], ctypes.c_ulong(flags), None, None, None, None)
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), f"clone: {os.strerror(ctypes.get_errno())}")
    return pid


def own_scratch(scratch: str, shown: Sequence[str], size_mb: int) -> None:
    """In the process of `fork_first`: an empty place to write, a /proc of its own processes, all else read only."""
    _mount("none", "/", "", _REC | _PRIVATE)
    for place, options in ((scratch, f"size={size_mb}m,nr_inodes=20000"), ("/dev/shm", "size=64m")):
        _mount("scratch", place, "tmpfs", _NOSUID | _NODEV, f"{options},mode=1777")
    for path in shown:
        _show(_stashed(path, scratch), Path(path))
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV)
    _mount("none", "/", "", _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _stashed(path: str, scratch: str) -> str:
    """Where a shown path is kept while no scratch directory is mounted over it."""
    return f"/.lab{path}" if path.startswith(f"{scratch}/") else path


def drop(uid: int | None) -> None:
    """Give up all privileges for good, and become the user `uid` if we are root."""
    if os.geteuid() == 0 and uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    elif sys.platform == "linux":  # root without capabilities still owns root's files
        header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
        _call("capset", header, bytes(24))
    if sys.platform == "linux":
        _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
        _call("prctl", _SET_DUMPABLE, 1, 0, 0, 0)


def guarded() -> None:
    """No process of the same user may look into this one or lead it with a debugger."""
    _call("prctl", _SET_DUMPABLE, 0, 0, 0, 0)


def refusal(attempt: Callable[[], None]) -> str:
    """Make an attempt in a process of its own; "" or why it failed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
            os._exit(0)
        except BaseException as error:
            os.write(write, str(error).encode()[:500])
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        told = stream.read().decode()
    return "" if os.waitpid(pid, 0)[1] == 0 else told or "it ended"


def _mount(source: object, target: object, kind: str, flags: int, options: str = "") -> None:
    try:
        _call("mount", str(source).encode(), str(target).encode(), kind.encode(), flags, options.encode())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({target})") from None


def _show(path: str, target: Path, writable: bool = False) -> None:
    """Bind `path` to `target`."""
    if os.path.isdir(path):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(path, target, "", _BIND | _REC)
    if not writable:
        kept = os.statvfs(target).f_flag & (_NOSUID | _NODEV | _NOEXEC)  # a user namespace may not take them away
        _mount("none", target, "", _REMOUNT | _BIND | _RDONLY | _NOSUID | kept)


def _pivot(root: Path) -> None:
    os.chdir(root)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b".old") != 0:
        raise OSError(ctypes.get_errno(), f"pivot_root: {os.strerror(ctypes.get_errno())}")
    os.chdir("/")
    _call("umount2", b"/.old", _DETACH)
    os.rmdir("/.old")


# glibc has no wrapper for these two.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CLONE = {"x86_64": 56, "aarch64": 220}
