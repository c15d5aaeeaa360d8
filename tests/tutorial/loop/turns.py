"""Three turns of the loop of step 4, recorded while it runs: two clients have asked for /upstream, and the
upstream answers. Each scene shows the frames that are parked, the future that each task awaits, the callbacks of
each future, and the queue.

record() returns the scenes, and draw() a picture of all. The page of the tutorial steps through them."""
import contextlib
import html
import importlib.util
import pathlib
import re
import socket
import sys
import textwrap
import threading
import types

from recorder import svg

HERE = pathlib.Path(__file__).resolve().parent
STEP = HERE / "step4.py"
PATIENCE = 20  # seconds, for a client or for the upstream


# ---- record

class Over(BaseException):
    """The turns that are shown have been recorded."""


class Watched:
    """The epoll of the loop. It names each future that a descriptor sets, and sees where a turn begins."""

    def __init__(self, epoll, recorder):
        self.epoll, self.recorder = epoll, recorder

    def register(self, sock, event):
        self.recorder.name(sock, event)
        self.epoll.register(sock, event)

    def unregister(self, fd):
        self.epoll.unregister(fd)

    def poll(self, timeout):
        self.recorder.before_wait(timeout)
        return self.epoll.poll(timeout)


class Recorder:
    def __init__(self, loop, listener, upstream):
        self.loop, self.listener, self.upstream = loop, listener, upstream
        self.tasks, self.names, self.clients, self.scenes = [], {}, [], []
        self.answers = threading.Event()  # let the upstream answer
        self.recording, self.ran = False, None
        self.step, self.begin, self.set = loop.Task.step, loop.Task.__init__, loop.Future.set
        loop.Task.step = lambda task: self.stepped(task)
        loop.Task.__init__ = lambda task, coroutine: self.begun(task, coroutine)
        loop.Future.set = lambda future, *result, **error: self.was_set(future, *result, **error)
        loop.epoll = Watched(loop.epoll, self)

    # ---- names

    def client(self, sock):
        """Return the number of a client. They are numbered as they are accepted."""
        if sock not in self.clients:
            self.clients.append(sock)
        return self.clients.index(sock) + 1

    def name(self, sock, event):
        """Name the future that is set when this happens."""
        what = "readable" if event == self.loop.select.EPOLLIN else "writable"
        if sock is self.listener:
            who = "listener"
        elif sock.getpeername()[1] == self.upstream:
            who = "upstream"
        else:
            who = f"client {self.client(sock)}"
        self.names[self.loop.waiting[sock.fileno()]] = f"{who} {what}"

    def label(self, future):
        return f"task {self.names[future]}" if future in self.tasks else self.names[future]

    # ---- what happens

    def begun(self, task, coroutine):
        sock = coroutine.cr_frame.f_locals.get("client")
        self.names[task] = coroutine.__name__ + (f" {self.client(sock)}" if sock else "")
        self.tasks.append(task)
        self.begin(task, coroutine)

    def before_wait(self, timeout):
        """The loop is about to wait. Begin when both clients wait for the answer; end when both have been
        resumed."""
        awaited = [self.label(self.awaited(task)) for task in self.tasks
                   if not task.done and task not in self.new()]
        if not self.recording and awaited.count("task ask") == 2 and "upstream readable" in awaited:
            self.recording = True
            self.answers.set()
        self.scene("look" if timeout == 0 else "wait")
        if self.recording and {"client 1 writable", "client 2 writable"} <= set(awaited):
            raise Over

    def new(self):
        """Return the tasks whose first step is in the queue."""
        return [task for task in self.tasks if not frames(task.coroutine)[1:]]

    def stepped(self, task):
        self.ran = task
        self.step(task)
        self.ran = None
        self.scene("send", task)

    def was_set(self, future, *result, **error):
        self.set(future, *result, **error)
        if self.ran is None:  # by the loop, not by a step
            self.scene("set", future)

    def scene(self, kind, about=None):
        """Keep what is there at this moment. about: the future that was set, or the task that ran."""
        if not self.recording:
            return
        shown = [task for task in self.tasks if not task.done or task.callbacks]
        awaited = {task: self.awaited(task) for task in shown}
        futures = dict.fromkeys([*awaited.values(), about if kind == "set" else None])
        self.scenes.append({
            "kind": kind,
            "about": about and (self.names[about] if kind == "send" else self.label(about)),
            "tasks": [{"name": self.names[task], "frames": frames(task.coroutine), "done": task.done,
                       "awaits": awaited[task] and self.label(awaited[task])} for task in shown],
            "futures": [{"name": self.label(each), "done": each.done,
                         "callbacks": [self.names[call.__self__] for call in each.callbacks]}
                        for each in futures if each],
            "queue": [self.names[call.__self__] for call in self.loop.queue]})

    @staticmethod
    def awaited(task):
        """Return the future in whose __await__ a parked task stands; None if the task is done."""
        return None if task.done else parked(task.coroutine)[-1].gi_frame.f_locals["self"]


def parked(coroutine):
    """Return the coroutines that wait for one another, from the outermost to the __await__ of a future."""
    found = []
    while coroutine is not None:
        found.append(coroutine)
        is_coroutine = isinstance(coroutine, types.CoroutineType)
        coroutine = coroutine.cr_await if is_coroutine else coroutine.gi_yieldfrom
    return found


def frames(coroutine):
    """Return the names of the functions whose frames a parked coroutine keeps."""
    return [each.__name__ for each in parked(coroutine)] if coroutine.cr_frame else []


def load():
    """Return step 4 as a module of its own: nothing has run on its loop."""
    spec = importlib.util.spec_from_file_location("recorded_step", STEP)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(HERE))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HERE))
    return module


def answer(listener, recorder):
    """Be the upstream of one client."""
    there, _ = listener.accept()
    with there:
        there.recv(4096)
        recorder.answers.wait(PATIENCE)
        there.sendall(recorder.loop.web.response(200, "That was slow!"))


def record():
    """Run step 4, ask it twice for /upstream, and return the scenes."""
    loop = load()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        upstream = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        loop.options = types.SimpleNamespace(upstream=upstream.getsockname())
        recorder = Recorder(loop, listener, upstream.getsockname()[1])
        thread = threading.Thread(target=answer, args=[upstream, recorder], daemon=True)
        thread.start()
        for _ in range(2):
            client = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE))
            client.sendall(loop.web.request("x", "/upstream"))
        loop.Task(loop.serve(listener))
        with contextlib.suppress(Over):
            loop.run()
        thread.join(PATIENCE)
        loop.epoll.epoll.close()
        for each in recorder.clients:
            each.close()
        for task in recorder.tasks:
            task.coroutine.close()
    return recorder.scenes


# ---- draw

WIDTH, MARGIN, SCENE, WORDS = 480, 12, 290, 84  # WORDS: the height of a caption
ROW, LETTER = 22, 7                             # LETTER: the width of a monospaced one
FRAMES, AWAITS = 96, 348                        # where these columns begin
WAITS = ("wait", "look")                        # look: with a time-out of 0
SCENES = re.compile(r'<svg class="scene" [^>]*viewBox="([^"]*)">(.*?)<desc>(.*?)</desc>\n</svg>', re.S)
TITLE = "Three turns of the loop: two clients await one upstream"

STYLE = svg.small_style("turns", "text", ".quiet", ".card", ".clients", ".work", ".turn", light="""\
.turns .strong { font-weight: 600 }
.turns .mono { font: 11.5px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace }
.turns .parked { fill: #fff; stroke: #59636e; stroke-dasharray: 3 2 }
.turns .done { fill: #ddecd3; stroke: #50802f }
.turns .now { fill: none; stroke: #0550ae; stroke-width: 2 }
.turns text.inverse { fill: #fff }
""", dark="""\
.turns .parked { fill: #0d1117; stroke: #9da7b3 }
.turns .done { fill: #24401b; stroke: #86bf5d }
.turns .now { stroke: #79b8ff }
.turns text.inverse { fill: #0d1117 }
""")


def text(x, y, words, kind=""):
    shown = f' class="{kind}"' if kind else ""
    return f'<text{shown} x="{x}" y="{y}">{html.escape(words)}</text>'


def box(kind, x, y, width, words="", mono=True):
    inverse = " inverse" if kind == "work" else ""
    label = text(x + 4, y + 13, words, ("mono" if mono else "") + inverse) if words else ""
    return f'<rect class="{kind}" x="{x}" y="{y + .5}" width="{width}" height="18" rx="2"/>{label}'


def wide(words):
    return LETTER * len(words) + 8


def shown_scenes(scenes):
    """Return the numbers of the scenes to step through: the first wait, and all that runs."""
    return [0, *(number for number, scene in enumerate(scenes) if scene["kind"] not in WAITS)]


def lane(scenes, number):
    """The thread: its waits, and what runs between them, not to scale. What runs now has a frame."""
    parts, x = [text(MARGIN, 45, "thread", "strong")], 66
    for each, scene in enumerate(scenes):
        waits, last = scene["kind"] in WAITS, each + 1 == len(scenes)
        width = WIDTH - MARGIN - x if last else wide(scene["kind"])
        parts.append(box("clients" if waits else "work", x, 31, width, scene["kind"]))
        if each == number:
            parts.append(f'<rect class="now" x="{x - 2}" y="28.5" width="{width + 4}" height="23" rx="3"/>')
        x += width + (5 if waits or not last and scenes[each + 1]["kind"] in WAITS else 1)
    return parts


def draw_scene(scenes, number, x, y):
    """Return one scene."""
    scene = scenes[number]
    step = shown_scenes(scenes).index(number) + 1
    ran = scene["about"] if scene["kind"] == "send" else None
    lines = [f'<svg class="scene" x="{x}" y="{y}" width="{WIDTH}" height="{SCENE}" viewBox="0 0 {WIDTH} {SCENE}">',
             text(MARGIN, 20, f"{step} of {len(shown_scenes(scenes))}", "name"), *lane(scenes, number)]
    top = 68
    for at, title in (MARGIN, "task"), (FRAMES, "the frames that it keeps"), (AWAITS, "awaits"):
        lines.append(text(at, top, title, "quiet"))
    for row, task in enumerate(scene["tasks"]):
        at, left = top + 8 + row * ROW, FRAMES
        lines.append(text(MARGIN, at + 13, task["name"], "strong"))
        for frame in task["frames"]:
            lines.append(box("work" if task["name"] == ran else "parked", left, at, wide(frame), frame))
            left += wide(frame) + 2
        lines.append(text(AWAITS, at + 13, task["awaits"]) if task["awaits"] else
                     text(FRAMES, at + 13, "none: it has returned", "quiet"))
    top += 8 + 4 * ROW + 22
    for at, title in (MARGIN, "future"), (170, "its callbacks"):
        lines.append(text(at, top, title, "quiet"))
    for row, future in enumerate(scene["futures"]):
        at = top + 8 + row * ROW
        lines.append(box("done" if future["done"] else "parked", MARGIN, at, 146,
                         ("✓ " if future["done"] else "") + future["name"], mono=False))
        lines.append(text(170, at + 13, "put into the queue" if future["done"] else
                          ", ".join(f"step of {name}" for name in future["callbacks"])))
    left, at = FRAMES, SCENE - 24
    lines.append(text(MARGIN, at + 13, "queue", "strong"))
    for name in scene["queue"]:
        words = f"step of {name}"
        lines.append(box("turn", left, at, wide(words), words))
        left += wide(words) + 4
    lines.append("" if scene["queue"] else text(left, at + 13, "empty", "quiet"))
    return "\n".join([*lines, f"<desc>{html.escape(caption(scenes, number))}</desc>", "</svg>"])


def caption(scenes, number):
    """Say what happens in a scene, from what was recorded."""
    scene, before, about = scenes[number], scenes[number - 1], scenes[number]["about"]
    if scene["kind"] == "wait":
        return ("The thread waits in epoll.poll, and no line of Python runs. Each coroutine is parked at an await. "
                "Its frames are not on the stack of the thread: they are objects.")
    steps = " and ".join(f"of {name}" for name in scene["queue"])
    if scene["kind"] == "set":
        again = " again" if any(each["about"] == about for each in scenes[:number]) else ""
        return (f"The {about.replace(' ', ' is ')}{again}: epoll.poll returns, and run sets the future for that. "
                f"Its callback, the step {steps}, goes into the queue. Nothing has been resumed yet.")
    task = next(each for each in scene["tasks"] if each["name"] == about)
    if task["done"]:
        return (f"step calls send, and {about} returns: send raises StopIteration. A task is a future, too. Now "
                f"it is done, so the steps {steps} go into the queue, for the next turn.")
    if about == "ask":
        return (f"run takes the step of {about} from the queue, and step calls send. The frames run from the "
                f"innermost on, up to the next await: of a new future, “{task['awaits']}”, which send returns. "
                "The step becomes a callback of that one.")
    looked = "epoll.poll had 0 s to look, as the queue was not empty. " if before["kind"] == "look" else ""
    return (f"{looked}send resumes {about} with the result of the task that it awaited. It formats its response, "
            f"and awaits “{task['awaits']}”. All in one turn is one black sliver in the recorder's lane.")


def draw(scenes):
    """Return the picture: all scenes, in two columns, each with its caption."""
    numbers = shown_scenes(scenes)
    height = 44 + (len(numbers) + 1) // 2 * (SCENE + WORDS)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" class="turns" width="{2 * WIDTH}" '
             f'viewBox="0 0 {2 * WIDTH} {height}" role="img" aria-labelledby="turns-title turns-desc">',
             f'<title id="turns-title">{TITLE}</title>',
             f'<desc id="turns-desc">{html.escape(" ".join(caption(scenes, each) for each in numbers))}</desc>',
             f"<style>{STYLE}</style>",
             f'<rect class="card" x=".5" y=".5" width="{2 * WIDTH - 1}" height="{height - 1}" rx="8"/>',
             text(MARGIN, 26, TITLE, "name")]
    for place, number in enumerate(numbers):
        x, y = place % 2 * WIDTH, 36 + place // 2 * (SCENE + WORDS)
        lines.append(draw_scene(scenes, number, x, y))
        lines += [text(x + MARGIN, y + SCENE + 15 + 15 * row, words)
                  for row, words in enumerate(textwrap.wrap(caption(scenes, number), 72))]
    return "\n".join([*lines, "</svg>"]) + "\n"
