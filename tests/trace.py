#!/usr/bin/env python3
"""Record how a server answers /slow and, a little later, /fast; tell who waits for whom, and where.

usage: tests/trace.py [OPTION]... [STAGE | trap]...          a stage; all of them, if none is named
       tests/trace.py [OPTION]... URL -- COMMAND [ARGUMENT]...  a server that is started for it
       tests/trace.py [OPTION]... URL [--pid PID]            a server that runs on this machine
       tests/trace.py [OPTION]... --from FILE                what was recorded before

  --delay SECONDS  how long /slow waits in a stage (1)
  --gap SECONDS    how much later /fast is asked for (0.1)
  --slow PATH      the slow path of a server of your own (/slow)
  --fast PATH      the fast one (/fast)
  --shots SHOTS    other requests than these two, such as "5x0:/slow 100:/fast" (see build/probe --help)
  --wait SECONDS   how long a command may take until it answers (30)
  --name NAME      what to call it
  --svg FILE       draw it
  --html FILE      a page that replays it
  --json FILE      events for Perfetto's viewer and chrome://tracing
  --raw FILE       the log of strace, which --from reads
  --help

To be traced makes each call slower, here by up to a few milliseconds: look at the order, not at microseconds.
Exit status: 0 if it was recorded; 1 if not; 2 for a bad command line.
"""
import argparse
import pathlib
import re
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent / "trace")]
import lab
import events
import processes
import recorder
import story
import strace_log
import understand


class Parser(argparse.ArgumentParser):
    def format_help(self):
        return __doc__

    def error(self, message):
        message = re.sub(r"^argument (--\w+): ", r"\1 ", message)
        print(f"{lab.tool()}: {message}; see --help", file=sys.stderr)
        sys.exit(2)


def seconds(text):
    if not re.fullmatch(r"\d+\.?\d*|\.\d+", text) or not 0.01 <= float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: want seconds, from 0.01 to 3600")
    return float(text)


def path(text):
    if not re.fullmatch(r"/[!-~]*", text):
        raise argparse.ArgumentTypeError(f"{text}: want a path that begins with /, without blanks")
    return text


def shots(text):
    if not text.split() or not all(re.fullmatch(r"(\d+x)?\d+(\.\d*)?:/[!-~]*", shot) for shot in text.split()):
        raise argparse.ArgumentTypeError(f'{text}: want requests, such as "0:/slow 100:/fast"')
    return text.split()


def parse(arguments):
    """Return the options; what is asked for makes sense together."""
    words, _, command = [*arguments, None][:-1], None, None
    if "--" in arguments:
        index = arguments.index("--")
        words, command = arguments[:index], arguments[index + 1:]
    parser = Parser(add_help=True)
    parser.add_argument("what", nargs="*")
    parser.add_argument("--delay", type=seconds)
    parser.add_argument("--gap", type=seconds, default=0.1)
    parser.add_argument("--slow", type=path, default="/slow")
    parser.add_argument("--fast", type=path, default="/fast")
    parser.add_argument("--shots", type=shots)
    parser.add_argument("--wait", type=seconds, default=30)
    parser.add_argument("--name")
    parser.add_argument("--pid", type=int)
    for option in ("--from", "--svg", "--html", "--json", "--raw"):
        parser.add_argument(option, metavar="FILE")
    options = parser.parse_args(words)
    options.command = command
    options.url = options.what[0] if options.what and "://" in options.what[0] else None
    complaint = _complaint(options)
    if complaint:
        parser.error(complaint)
    options.delay = options.delay or 1.0
    options.shots = options.shots or [f"0:{options.slow}", f"{options.gap * 1e3:g}:{options.fast}"]
    return options


def _complaint(options):
    """What is wrong with the options together, or None."""
    stages = [*lab.STAGES, "trap"]
    if getattr(options, "from") is not None:
        alone = not options.what and options.command is None and not options.raw
        return None if alone else "--from tells what was recorded before: nothing is recorded with it"
    if options.url:
        if not recorder.is_url(options.url):
            return f"{options.url}: want http://HOST[:PORT], without a path (--slow and --fast are the paths)"
        if len(options.what) > 1:
            return f"{options.what[1]}: one URL alone; a command is written after --"
        if options.delay is not None:
            return "--delay is for stages; a server of your own has a delay of its own"
        if options.command == []:
            return "want a command after --"
        if options.command and options.pid is not None:
            return "--pid is for a process that runs, not for a command"
        if options.pid is not None and not processes.threads(options.pid):
            return f"--pid {options.pid}: no such process"
        return None if recorder.is_here(options.url) else f"{options.url}: this is not an address of this machine"
    unknown = [word for word in options.what if word not in stages]
    if unknown:
        return f"{unknown[0]}: no such stage, and no http:// URL; want {' '.join(stages)}"
    if options.command is not None or options.pid is not None:
        return "want a URL, such as http://127.0.0.1:8000, to know where to ask"
    if options.name is not None:
        return "--name is for a server of your own"
    if options.gap >= (options.delay or 1):
        return f"--gap {options.gap:g}: want less than the delay, {options.delay or 1:g}"
    return None


def record(options):
    """Yield the text of one recording after the other."""
    recorder.check()
    extra = "".join(f"# {key}: {getattr(options, key)}\n" for key in ("slow", "fast"))

    def complete(text):
        first, rest = text.split("\n", 1)
        return f"{first}\n{extra}{rest}"

    if options.command:
        name = options.name or " ".join([pathlib.Path(options.command[0]).name, *options.command[1:]])
        yield complete(recorder.command(options.url, options.command, name, options.fast, options.shots,
                                        options.wait))
    elif options.url:
        yield complete(recorder.process(options.url, options.pid, options.name, options.shots))
    else:
        for name in options.what or [*lab.STAGES, "trap"]:
            yield complete(recorder.stage(name, options.delay, options.shots))


def refuse(option, name, why):
    print(f"{lab.tool()}: --{option} {name}: {why}", file=sys.stderr)
    sys.exit(2)


def check_files(options):
    """Refuse what cannot be read or written, before anything is started."""
    for option in ("from", "svg", "html", "json", "raw"):
        name = getattr(options, option)
        try:
            if name is not None:
                open(name, "r" if option == "from" else "a").close()
        except OSError as error:
            refuse(option, name, error.strerror)


def recorded(options):
    """Yield (text, Recording), of a file or of what is recorded now."""
    if getattr(options, "from") is None:
        for text in record(options):
            try:
                yield text, understand.understand(strace_log.read(text)[0])
            except understand.NotUnderstood as reason:
                raise lab.Failed(f"the recording cannot be told: {reason}")
        return
    name = getattr(options, "from")
    text = pathlib.Path(name).read_text(errors="replace")
    for log in strace_log.read(text):
        try:
            yield text, understand.understand(log)
        except understand.NotUnderstood as reason:
            refuse("from", name, reason)


def main(arguments):
    options = parse(arguments)
    check_files(options)
    recordings, raw = [], []
    for text, recording in recorded(options):
        print("\n" * bool(recordings) + "\n".join(story.tell(recording)), flush=True)
        recordings.append(recording)
        raw.append(text)
    if options.raw:
        pathlib.Path(options.raw).write_text("".join(raw))
    if options.json:
        pathlib.Path(options.json).write_text(events.dump(recordings))
    if options.svg:
        import svg
        pathlib.Path(options.svg).write_text(svg.draw(recordings))
    if options.html:
        import page
        pathlib.Path(options.html).write_text(page.build(recordings))
    return 0


if __name__ == "__main__":
    lab.run(main)
