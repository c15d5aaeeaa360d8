#!/usr/bin/env python3
"""Record how a server answers /slow and, a little later, another client's /fast.
Show which calls its threads made, how long each took, and why /fast had to wait, or
did not.

trace.py starts and stops each STAGE that it records. Without arguments, it records all
stages, and trap, which is 06-libev with --block. A URL is a server of your own:
trace.py starts it with COMMAND, or it is already running on this machine.
"""
from kit import tool  # first: see kit/__init__.py

import argparse
import os
import pathlib
import re
import sys

from kit import commandline, proc, urls
from kit.commandline import Parser
from kit.errors import Failed
from kit.report import fold
from kit.tree import STAGES
from recorder import events, next_steps, recorder, strace_log, table, understand


USAGE = """\
%(prog)s [OPTION]... [STAGE | trap]...
       %(prog)s [OPTION]... URL -- COMMAND [ARGUMENT]...
       %(prog)s [OPTION]... URL [--pid PID]
       %(prog)s [OPTION]... --from FILE"""
NOTE = """\
A call takes longer while it is recorded, by up to a few milliseconds. Trust the
order of the calls and what they wait for, not the milliseconds."""
EPILOG = f"""\
{NOTE}
BUILD in the environment names the folder with the programs (build).
Exit status: 0 if it was recorded; 1 if not; 2 for a bad command line."""
SUBJECTS = [*STAGES, "trap"]
OUTPUTS = {"svg": "draw it", "html": "write a page that replays it",
           "json": "write events for the viewers of Perfetto and Chrome (chrome://tracing)",
           "raw": "keep the log of strace, for --from"}


# ---- the command line

def parse_shots(text):
    shot = r"(\d+x)?\d+(\.\d*)?:/[!-~]*"
    if not re.fullmatch(rf"\s*{shot}(\s+{shot})*\s*", text):
        raise argparse.ArgumentTypeError(f'{text}: want requests, such as "5x0:/slow 100:/fast"')
    return text.split()


def parse(arguments):
    words, command = arguments, None
    if "--" in arguments:
        words, command = arguments[:arguments.index("--")], arguments[arguments.index("--") + 1:]
    parser = Parser(description=__doc__, epilog=EPILOG, usage=USAGE)
    parser.add_argument("subjects", nargs="*", metavar="STAGE | URL",
                        help=f"one of {' '.join(SUBJECTS)}, or http://HOST[:PORT]")
    parser.add_argument("--delay", type=commandline.seconds(0.1, 3600), metavar="SECONDS",
                        help="how long /slow waits in a stage (1)")
    parser.add_argument("--gap", type=commandline.seconds(0.001, 3600), metavar="SECONDS", default=0.1,
                        help="the time between /slow and /fast (0.1)")
    parser.add_argument("--slow", type=commandline.route, metavar="PATH", default="/slow",
                        help="the slow route (/slow)")
    parser.add_argument("--fast", type=commandline.route, metavar="PATH", default="/fast",
                        help="the fast route (/fast)")
    parser.add_argument("--shots", type=parse_shots, metavar="SHOTS",
                        help='other requests, such as "5x0:/slow 100:/fast" (see build/probe --help)')
    parser.add_argument("--pid", type=commandline.whole_number(1, 2 ** 22), metavar="PID",
                        help="the process to record, with its threads and the processes that it has started "
                             "(those that listen at the URL)")
    parser.add_argument("--wait", type=commandline.seconds(0.1, 3600), metavar="SECONDS", default=30,
                        help="how long COMMAND may take until it answers (30)")
    parser.add_argument("--timeout", type=commandline.seconds(0.1, 3600), metavar="SECONDS",
                        help="how long a request may take (twice the delay of a stage and 10; for a URL, 70)")
    parser.add_argument("--name", help="the title for a server of your own (the command)")
    parser.add_argument("--from", dest="file", metavar="FILE",
                        help="show what was recorded before, by --raw or by strace -f -ttt -T")
    parser.add_argument("--sources", metavar="FOLDER",
                        help="also show lines of the source files in this folder (without --from: of this one)")
    for option, text in OUTPUTS.items():
        parser.add_argument(f"--{option}", type=commandline.output, metavar="FILE", help=text)
    options = parser.parse_args(words)
    options.command = command
    options.url = next((word for word in options.subjects if "://" in word), None)
    wrong = contradiction(options) or (options.file is not None and closed_file(options.file))
    if wrong:
        parser.error(wrong)
    options.delay = options.delay or 1
    options.shots = options.shots or [f"0:{options.slow}", f"{options.gap * 1000:g}:{options.fast}"]
    return options


def contradiction(options):
    """Return what is wrong with the options together, or None."""
    if options.file is not None:
        alone = not options.subjects and options.command is None and options.raw is None
        return None if alone else f"--from {options.file}: nothing is recorded, so name nothing else"
    if options.url:
        return wrong_url(options)
    for word in options.subjects:
        if word not in SUBJECTS:
            return f"{word}: neither a stage nor an http:// URL; want one of: {' '.join(SUBJECTS)}"
    if options.command is not None or options.pid is not None:
        return "want the URL where the server answers, such as http://127.0.0.1:8000"
    if options.name is not None:
        return f"--name {options.name}: a stage has a name already"
    if options.gap >= (options.delay or 1):
        return f"--gap {options.gap:g}: want less than the delay, which is {options.delay or 1:g}"
    return None


def wrong_url(options):
    """Return what is wrong with the options for a server of the reader's own, or None."""
    url = options.url
    try:
        urls.url(url)
    except argparse.ArgumentTypeError as error:
        return f"{error} (--slow and --fast are the paths)"
    if len(options.subjects) > 1:
        return f"{' '.join(options.subjects)}: want one URL alone; a command comes after --"
    if options.delay is not None:
        return f"--delay {options.delay:g}: this is for stages; the delay of {url} is its own"
    if options.command == []:
        return "want a command after --"
    if options.pid is not None and options.command:
        return f"--pid {options.pid}: there is a command to start, too"
    if options.pid is not None and not proc.threads(options.pid):
        return f"--pid {options.pid}: no such process"
    return None if urls.is_here(url) else f"{url}: this is not an address of this machine"


def closed_file(name):
    """Return why a log cannot be read, before anything is told; or None."""
    path = pathlib.Path(name)
    if path.is_dir():
        return f"--from {name}: this is a folder"
    if not path.exists():
        return f"--from {name}: no such file"
    return None if os.access(path, os.R_OK) else f"--from {name}: cannot be read"


# ---- recordings

def record(options):
    """Yield the text of one log after the other: what was recorded before, or is recorded now."""
    if options.file is not None:
        with open(options.file, errors="replace") as file:
            yield file.read(strace_log.MOST_BYTES + 1)
        return
    recorder.check()
    requests = recorder.Requests(options.shots, options.slow, options.fast, options.timeout)
    if options.command:
        program, *words = options.command
        title = options.name or " ".join([pathlib.Path(program).name, *words])
        yield recorder.command(options.url, options.command, title, options.wait, requests)
    elif options.url:
        yield recorder.process(options.url, options.pid, options.name, requests)
    else:
        for name in options.subjects or SUBJECTS:
            yield recorder.stage(name, options.delay, requests)


def tell(options):
    """Print the story of one recording after the other, and keep the logs. Return the recordings."""
    folders = [options.sources or "."] if options.file is None or options.sources else []
    recordings, texts = [], []
    for text in record(options):
        texts.append(text)
        if options.raw:  # also of what cannot be told
            pathlib.Path(options.raw).write_text("".join(texts))
        for log in strace_log.read(text):
            recordings.append(understand.understand(log, folders))
            *lines, sentence = table.tell(recordings[-1])
            print("\n" * (len(recordings) > 1) + "\n".join([*lines, fold(sentence)]), flush=True)
    for line in what_next(options, recordings[-1]) if recordings else []:
        print(line)
    print(f"\n{NOTE}")
    return recordings


def what_next(options, recording):
    """Lines that say what to do next with a server of the reader's own: how to see the line that waits, or whether
    several slow requests keep it busy."""
    if not options.url:
        return []
    if recording.serializes is False:
        alone = len({client.answered_by for client in recording.clients}) < 2
        shots = f"5x0:{options.slow} 100:{options.fast}"
        return [] if alone or len(recording.clients) > 2 else [
            "", f'To see it when several {options.slow} keep it busy: --shots "{shots}"']
    lines = next_steps.of(recording.pid) if recording.pid and not options.command else []
    return ["", *lines] if lines else []


def write(options, recordings):
    """Write the pictures and events that were asked for."""
    if options.json:
        pathlib.Path(options.json).write_text(events.dump(recordings))
    if options.svg:
        from recorder import svg
        pathlib.Path(options.svg).write_text(svg.draw(recordings), encoding="utf-8")
    if options.html:
        from recorder import replay
        pathlib.Path(options.html).write_text(replay.build(recordings), encoding="utf-8")
        print(f"To replay this, open {options.html} in a browser.")


def main(arguments):
    options = parse(arguments)
    try:
        write(options, tell(options))
    except understand.NotUnderstood as reason:
        if options.file is None:
            raise Failed(f"nothing can be told: {reason}")
        print(f"{tool.name()}: --from {options.file}: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    tool.run(main)
