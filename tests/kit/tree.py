"""The source tree: its folders, its stages, and the programs that are built from it."""
import os
import pathlib

from kit.errors import Failed

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / "tests"  # the root of all imports
BUILD = ROOT / os.environ.get("BUILD", "build")
BUILD_NOTE = "BUILD in the environment names the folder with the programs (build)."  # for --help
STAGES = ["01-blocking", "02-threaded", "03-select", "04-poll", "05-epoll", "06-libev"]


def built(name):
    """Return the path of a program in the build folder. Fail if it is not there, and say how to build it."""
    program = BUILD / name
    if not os.access(program, os.X_OK):
        build = os.environ.get("BUILD", "build")
        folder = f"BUILD={build} " if build != "build" else ""
        packages = "deps " if name == "06-libev" else ""
        raise Failed(f"{name} is not built. To build it: make {folder}{packages}{name}")
    return program
