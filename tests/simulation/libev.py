"""The source of libev, for 06 in the simulation: from LIBEV_SOURCE, or from the distribution's source package.

The system's own list of sources often has no entries for source packages. So a list of our own has them, for the same
places, and apt keeps what it fetches for it in the build folder: nothing of the system changes.
"""
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

# As Debian builds it, for the kernel that is simulated: epoll and eventfd, and nothing else to wait with.
FLAGS = ["-DEV_STANDALONE=1", "-DEV_USE_EPOLL=1", "-DEV_USE_EVENTFD=1", "-DEV_USE_POLL=0", "-DEV_USE_SELECT=0",
         "-DEV_USE_SIGNALFD=0", "-DEV_USE_INOTIFY=0", "-DEV_USE_LINUXAIO=0", "-DEV_USE_IOURING=0", "-DEV_USE_TIMERFD=0",
         "-DEV_NO_SMP=1"]
PATIENCE = 60  # seconds


def source(folder):
    """Return (the folder with ev.c, None), or (None, why there is none)."""
    given = os.environ.get("LIBEV_SOURCE")
    if given:
        found = pathlib.Path(given).resolve()
        return (found, None) if (found / "ev.c").is_file() else (None, f"LIBEV_SOURCE={given}: there is no ev.c")
    for known in sorted(folder.glob("libev-*/ev.c")):
        return known.parent, None
    try:
        return _fetch(folder), None
    except (OSError, subprocess.SubprocessError, tarfile.TarError, _Missing) as reason:
        why = (str(reason).strip().splitlines() or ["apt-get failed"])[-1]
        return None, f"libev's source is missing ({why}). LIBEV_SOURCE=DIR names a folder with it"


class _Missing(Exception):
    pass


def _fetch(folder):
    """Download the source package, and unpack it."""
    if shutil.which("apt-get") is None:
        raise _Missing("there is no apt-get")
    apt = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "parts"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    _write_sources(apt / "parts")
    options = [f"-oDir::Etc::SourceList={os.devnull}", f"-oDir::Etc::SourceParts={apt / 'parts'}",
               f"-oDir::State::Lists={apt / 'lists'}", f"-oDir::Cache={apt / 'cache'}", "-oAPT::Sandbox::User=root",
               "-oAcquire::Languages=none", "-oDebug::NoLocking=1", "-qq"]
    _run("apt-get", *options, "update")
    _run("apt-get", *options, "source", "--tar-only", "libev", cwd=apt)
    archive = next(iter(sorted(apt.glob("libev_*.orig.tar.*"))), None)
    if archive is None:
        raise _Missing("the package has no archive")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.isfile() and re.fullmatch(r"libev-[\d.]+/[\w+.-]+", member.name):
                target = folder / member.name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
    shutil.rmtree(apt)
    return next(folder.glob("libev-*/ev.c")).parent


def _run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise _Missing((done.stderr or "apt-get failed").strip())


def _write_sources(folder):
    """The system's lists, as far as they name a distribution, with source packages instead of programs."""
    known = [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*"))]
    for path in known:
        text = path.read_text(errors="replace") if path.is_file() else ""
        if path.suffix == ".sources":
            stanzas = [part for part in re.split(r"\n\s*\n", text)
                       if re.search(r"^URIs:.*\b(debian|ubuntu)\b", part, re.M | re.I)]
            text = "\n\n".join(re.sub(r"^Types:.*", "Types: deb-src", part, flags=re.M) for part in stanzas)
        else:
            lines = [line for line in text.splitlines() if re.match(r"deb\s.*\b(debian|ubuntu)\b", line, re.I)]
            text = "\n".join(re.sub(r"^deb\s", "deb-src ", line) for line in lines)
        if text:
            name = path.name if path.suffix in (".list", ".sources") else f"{path.name}.list"
            (folder / name).write_text(text + "\n")
