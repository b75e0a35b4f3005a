"""The commands of the course: ``python3 -m labsupport lab``, ``... test`` and the rest (``--help`` shows them).

Old Pythons can read this file, too: the first thing it does is to say so when a Python is too old.
"""

import os
import subprocess
import sys

OLDEST = (3, 10)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def cannot_start(version, os_name, platform, usable):
    """The three lines to print when the course cannot run here at all, or None.

    Args:
        version: (major, minor) of the running Python.
        os_name: `os.name`.
        platform: `sys.platform`.
        usable: a function that gives the command of a newer Python found on this machine, or None.
    """
    command = "-m labsupport " + (" ".join(sys.argv[1:]) or "lab")
    if os_name == "nt":
        return (
            "The course does not run on Windows itself.\n"
            "Likely cause: it starts and kills real servers in ways that only Linux and macOS offer.\n"
            "What to do: use WSL 2 (Linux inside Windows): run `wsl --install` once in PowerShell, open Ubuntu, "
            "clone the course there, and run `python3 %s` in it." % command
        )
    if tuple(version[:2]) < OLDEST:
        newer = usable()
        if newer:
            todo = "run `%s %s`" % (newer, command)
        elif platform == "darwin":
            todo = "run `brew install python@3.13`, then `python3.13 %s`" % command
        else:
            todo = (
                "install Python 3.10 or newer (`sudo apt-get install python3 python3-venv` on a current Debian or "
                "Ubuntu), then run `python3 %s` with it" % command
            )
        return (
            "The course needs Python 3.10 or newer, and this is Python %d.%d.\n"
            "Likely cause: `%s` is an older Python.\n"
            "What to do: %s." % (version[0], version[1], os.path.basename(sys.executable or "python"), todo)
        )
    return None


def newer_python():
    """The name of a Python on PATH that the course can run with and that starts, newest first, or None."""
    for minor in range(19, OLDEST[1] - 1, -1):
        name = "python3.%d" % minor
        for directory in os.environ.get("PATH", "").split(os.pathsep):
            program = os.path.join(directory, name)
            if os.path.isfile(program) and os.access(program, os.X_OK):
                with open(os.devnull, "w") as nowhere:
                    if subprocess.call([program, "-c", "import venv"], stdout=nowhere, stderr=nowhere) == 0:
                        return name
    return None


def main():
    """Run one command; the exit status is its answer."""
    problem = cannot_start(sys.version_info, os.name, sys.platform, newer_python)
    if problem:
        sys.stderr.write(problem + "\n")
        return 2
    if not __package__:  # started as `python3 path/to/labsupport`, from any directory
        sys.path[0] = ROOT
    from labsupport.cli import main as run_command

    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
