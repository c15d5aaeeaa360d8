"""A headless Chromium, driven as a person would: clicks, keys, a drag. It speaks the DevTools protocol over two pipes.

    with Browser(width=400, height=800) as browser:
        browser.open("file:///…/play.html")
        browser.click("Send /slow")
        browser.wait("document.title === 'x'")
        browser.screenshot(path)

Where Chromium is missing, Browser() fails and says how to install it.
"""
import base64
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time

from kit import processes, tool
from kit.errors import Failed

PATIENCE = 60                      # in seconds, for a browser on a busy machine
CONTROLS = "button, a, select, input, summary, label"
KEYS = {"Enter": ("\r", 13), " ": (" ", 32), "Tab": ("", 9), "ArrowLeft": ("", 37), "ArrowRight": ("", 39),
        "Home": ("", 36), "End": ("", 35), "Escape": ("", 27)}


class Browser:
    def __init__(self, width=1200, height=800, dark=False, reduced_motion=False, patience=PATIENCE):
        self.patience = patience   # in seconds, for one answer
        tool.need("chromium", "deps-tools")
        to_child, self._out = _pipe()
        self._in, from_child = _pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                   "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
                   "--remote-debugging-pipe",
                   f"--user-data-dir={tool.scratch() / f'profile-{self._out}'}", "about:blank"]
        # Chromium reads the protocol from descriptor 3 and writes to 4.
        glue = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
                "os.execvp(sys.argv[3], sys.argv[3:])")
        self._process = processes.start([sys.executable, "-c", glue, to_child, from_child, "chromium", *options],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        pass_fds=(to_child, from_child))
        os.close(to_child)
        os.close(from_child)
        self._count, self._rest, self._session = 0, b"", None
        self.console = []          # what was written to it, and errors that nobody caught
        self._trace, self._tracing = [], False   # what Chromium tells of its tasks
        target = next(each for each in self.send("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        self.emulate(dark, reduced_motion)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        processes.stop(self._process, patience=1)
        os.close(self._out)
        os.close(self._in)

    # ---- the protocol

    def send(self, method, **parameters):
        """Send a command, and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.patience
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise Failed(f"chromium: {method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self, deadline):
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failed(f"chromium does not answer within {self.patience} s")
            more = os.read(self._in, 1 << 20)
            if not more:
                raise Failed("chromium has ended")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(each.get("value", each.get("description", "")))
                                         for each in parameters["args"]))
        elif message.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        elif message.get("method") == "Tracing.dataCollected":
            self._trace += parameters["value"]
        elif message.get("method") == "Tracing.tracingComplete":
            self._tracing = False
        return message

    @contextlib.contextmanager
    def longest_task(self):
        """Yield a list. In the end, it has the processor time (ms) of the longest task of the main thread. On an idle
        machine, the page draws nothing and handles no input for that long."""
        longest, self._trace, self._tracing = [], [], True
        self.send("Tracing.start", categories="toplevel", transferMode="ReportEvents")
        try:
            yield longest
        finally:
            self.send("Tracing.end")
            deadline = time.monotonic() + self.patience
            while self._tracing:
                self._receive(deadline)
        main = {(each["pid"], each["tid"]) for each in self._trace
                if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"}
        tasks = [each["tdur"] / 1000 for each in self._trace
                 if "tdur" in each and (each["pid"], each["tid"]) in main]
        if not tasks:
            raise Failed("chromium tells of no task")
        longest.append(max(tasks))

    # ---- the page

    def resize(self, width, height, scale=1, mobile=False):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=mobile)

    def emulate(self, dark=False, reduced_motion=False):
        """Tell the page which colours, and how much motion, the person at the screen prefers."""
        self.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"}])

    def open(self, address):
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, expression):
        """Return the value of an expression in JavaScript, a promise awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise Failed(f"chromium: {expression}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait(self, expression, patience=PATIENCE):
        """Wait until an expression is true."""
        deadline = time.monotonic() + patience
        while True:
            if self.run(f"!!({expression})"):
                return
            if time.monotonic() > deadline:
                raise Failed(f"chromium: in {patience} s, this did not become true: {expression}",
                             self.run("document.body.innerText"))
            time.sleep(0.02)

    def find(self, words, kinds=CONTROLS):
        """Return an expression for the first visible control with these words."""
        return (f"[...document.querySelectorAll({json.dumps(kinds)})].find(each => "
                f"each.checkVisibility() && !each.disabled && (each.textContent.trim().startsWith({json.dumps(words)}) "
                f"|| each.getAttribute('aria-label') === {json.dumps(words)}))")

    def click(self, words, kinds=CONTROLS):
        """Wait until a control with these words is there, and click it with the mouse."""
        self.click_at(*self.middle(self.find(words, kinds)))

    def choose(self, label, value):
        """Wait until a select with this label is there, and choose a value of it."""
        select = self.find(label, "select")
        self.wait(select)
        self.run(f"(each => {{ each.value = {json.dumps(value)}; each.dispatchEvent(new Event('change')); }})"
                 f"({select})")

    def middle(self, expression):
        """Wait until an element is there. Return where its middle is, once it has not moved for a frame: a page may be
        about to draw."""
        self.wait(expression)
        return self.run("""(async find => { for (let before = "";;) {
            const each = find();
            each.scrollIntoView({block: "center"});
            const box = each.getBoundingClientRect(), middle = [box.x + box.width / 2, box.y + box.height / 2];
            if (String(middle) === before) return middle;
            before = String(middle);
            await new Promise(requestAnimationFrame);
        } })""" + f"(() => {expression})")

    def click_at(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, x0, y0, x1, y1):
        self.send("Input.dispatchMouseEvent", type="mousePressed", x=x0, y=y0, button="left", clickCount=1)
        for part in range(1, 11):
            self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x0 + (x1 - x0) * part / 10,
                      y=y0 + (y1 - y0) * part / 10, button="left", buttons=1)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x1, y=y1, button="left", clickCount=1)

    def touch(self, enabled=True):
        """Be a device with a touch screen, or one with a mouse."""
        self.send("Emulation.setTouchEmulationEnabled", enabled=enabled, maxTouchPoints=1)

    def tap(self, words):
        """Wait until a control with these words is there, and touch it."""
        self.swipe([self.middle(self.find(words))])

    def swipe(self, points):
        """Touch the first of these points, move over the others, and let go."""
        for kind, (x, y) in zip(["touchStart"] + ["touchMove"] * len(points), points):
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def without_scripts(self, disabled=True):
        """From the next page on, no script of a page runs."""
        self.send("Emulation.setScriptExecutionDisabled", value=disabled)

    def key(self, name, ctrl=False):
        text, code = KEYS.get(name, (name, ord(name[0].upper())))
        shared = {"key": name, "windowsVirtualKeyCode": code, "modifiers": 2 if ctrl else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", **shared, **({"text": text} if text and not ctrl else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def type(self, words):
        self.send("Input.insertText", text=words)

    def capture(self, **more):
        """Return what is on the screen, as a PNG file."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png", **more)["data"])

    def screenshot(self, path):
        """Write the whole page to a PNG file, with what is outside of the screen."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(self.capture(clip=clip, captureBeyondViewport=True))


def _pipe():
    """Return a pipe with two high numbers, so that none of them is 3 or 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20))
        os.close(end)
    return ends
