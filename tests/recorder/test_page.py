"""Do the drawings and the page show what was recorded? Asks a headless Chromium."""
import html
import json
import pathlib
import re
import unittest
import xml.etree.ElementTree as ElementTree

from kit import tool, unittests
from kit.browser import Browser
from kit.tree import ROOT
from recorder import replay, svg
from recorder.recording import Call, Client, Recording, Thread, Wait

HERE = pathlib.Path(__file__).resolve().parent

SVG = "{http://www.w3.org/2000/svg}"
PATIENCE = 240        # in seconds, for a browser on a busy machine
NASTY = '</script><b>"\'&<!-- sections -->'


# ---- recordings

def recordings():
    """Return those of sample.json, with the source files as they are now."""
    result = []
    for each in json.loads((HERE / "recordings/sample.json").read_text()):
        each["threads"] = [Thread(**{**thread, "calls": [Call(**call) for call in thread["calls"]]})
                           for thread in each["threads"]]
        each["clients"] = [Client(**client) for client in each["clients"]]
        each["waits"] = [Wait(**wait) for wait in each["waits"]]
        each["sources"] = {name: (ROOT / name).read_text().splitlines() for name in each["sources"]}
        result.append(Recording(**each))
    return result


def named(name):
    return next(each for each in recordings() if each.name == name)


def computing():
    """A thread computes for /slow; /fast stays in the backlog and gets no answer; all names are nasty."""
    calls = [Call(7, "recvfrom", NASTY, "64", 0.03, 0.0301, plain="reads " + NASTY, client=0,
                  source=NASTY + ":1", function=NASTY, stack=[f"{NASTY} {NASTY}:1", "main x.c:2"]),
             Call(7, "sendto", "5, ...", "", 0.93, None, plain="sends to /slow", client=0)]
    clients = [Client("/slow" + NASTY, 0.02, 0.021, 0.025, 0.03, 0.94, 0.94, accepted_by=7, answered_by=7),
               Client("/fast", 0.12, 0.121, None, None, None, None)]
    return Recording(NASTY, NASTY, NASTY, 1, [Thread(7, 7, NASTY, 0, None, calls)], clients, [], None, NASTY,
                     sources={NASTY: [NASTY] * 3}, idle_threads=2)


def call_at(thread, moment):
    """Return the call in which a thread is at that moment, or None."""
    for call in thread.calls:
        if call.start <= moment and (call.end is None or moment < call.end):
            return call
    return None


def in_backlog(recording, moment):
    return [client.path for client in recording.clients
            if client.connected <= moment < svg.until(client.accepted, recording)]


# ---- the browser

# The labels of a drawing that overlap, or that leave it
CLASHES = """svg => {
    const boxes = [...svg.querySelectorAll("text")].map(each => [each.textContent, each.getBBox()]);
    return boxes.flatMap(([words, a], i) => [
      ...a.x < 0 || a.x + a.width > svg.viewBox.baseVal.width ? [words] : [],
      ...boxes.slice(i + 1).filter(([, b]) => a.x + 1 < b.x + b.width && b.x + 1 < a.x + a.width &&
        a.y + 4 < b.y + b.height && b.y + 4 < a.y + a.height).map(([other]) => words + " / " + other)]);
  }"""
# Takes steps, and returns what the page shows after each. MORE stands for what else a test wants to know.
VISIT = """(async steps => {
  const all = css => [...document.querySelectorAll(css)];
  const seen = css => all(css).filter(each => each.checkVisibility());
  const texts = css => seen(css).map(each => each.textContent);
  const root = document.documentElement;
  const report = (slider = seen(".slider")[0]) => ({ width: innerWidth, clock: performance.now() / 1e3,
    sideways: root.scrollWidth - root.clientWidth,
    moment: texts(".moment").join(), backlog: texts(".board .backlog .token"), names: texts("main h2"),
    now: seen(".code li.now").map(each =>
      each.closest(".thread").querySelector(".quiet").textContent + ":" + each.value),
    loop: texts(".loop h3, .loop dd"), time: slider && Number(slider.value),
    spoken: slider && slider.getAttribute("aria-valuetext"),
    cursors: seen(".cursor").map(each => each.getAttribute("d")),
    clashes: seen(".picture svg").flatMap(CLASHES), ...MORE });
  const reports = [];
  for (const { hash, key, wait, click, beside, slide, focus, search } of steps) {
    const on = document.activeElement;
    if (hash) location.hash = hash;
    if (click) document.querySelector(click).click();
    if (focus) document.querySelector(focus).focus();
    if (search) {
      const field = document.querySelector("input[type=search]");
      field.value = search;
      field.dispatchEvent(new Event("input"));
    }
    if (key) on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    if (slide) {
      seen(".slider")[0].value = slide;
      seen(".slider")[0].dispatchEvent(new Event("input"));
    }
    if (beside) {
      document.getElementById("beside").value = beside;
      document.getElementById("beside").dispatchEvent(new Event("change"));
    }
    await new Promise(done => setTimeout(done, wait || 0));
    for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
    reports.push(report());
  }
  return reports; })""".replace("CLASHES", CLASHES)


def opened(browser, built, address=""):
    file = tool.scratch() / "visited.html"
    file.write_text(built, encoding="utf-8")
    browser.open(f"{file.as_uri()}{address}")


def visit(built, steps, width=1200, more="{}", reduced_motion=False):
    """Open a page, and take steps. Return the reports, and what was written to the console. more is an object in
    JavaScript that joins each report."""
    with Browser(width, reduced_motion=reduced_motion, patience=PATIENCE) as browser:
        opened(browser, built)
        reports = browser.run(f"{VISIT.replace('MORE', more)}({json.dumps(steps)})")
        return reports, browser.console


# ---- tests of the drawing

class Drawing(unittest.TestCase):
    def drawn(self):
        yield from (svg.draw([each]) for each in [*recordings(), computing()])
        yield svg.draw(recordings())

    def test_is_well_formed_and_small(self):
        for text in [*self.drawn(), svg.draw(recordings(), styled=False)]:
            root = ElementTree.fromstring(text)
            self.assertEqual(root.tag, SVG + "svg")
            self.assertEqual(root.get("width"), "900")
        self.assertLess(max(len(svg.draw([each]).encode()) for each in recordings()), 25_000)

    def test_is_the_same_each_time(self):
        self.assertEqual(list(self.drawn()), list(self.drawn()))

    def test_says_what_it_shows(self):
        for each in recordings():
            root = ElementTree.fromstring(svg.draw([each]))
            self.assertEqual(root.get("role"), "img")
            self.assertIn(each.name, root.find(SVG + "title").text)
            self.assertIn(each.sentence, root.find(SVG + "desc").text)
            labelled = root.get("aria-labelledby").split()
            self.assertEqual(labelled, [root.find(SVG + tag).get("id") for tag in ("title", "desc")])

    def test_text_is_12_pixels_or_more(self):
        sizes = re.findall(r"font(?:-size)?: (\d+)px", svg.STYLE)
        self.assertGreaterEqual(min(map(int, sizes)), 12)
        self.assertNotIn("font-size=", svg.draw(recordings()))

    def test_each_call_and_each_phase_of_a_client_has_a_title(self):
        root = ElementTree.fromstring(svg.draw([named("05-epoll")]))
        titles = "\n".join(title.text for title in root.iter(SVG + "title"))
        for call in named("05-epoll").threads[0].calls:
            if call.start >= 0 and call.waits_for:
                self.assertIn(f"{call.name}({call.arguments}) = {call.result}\n{call.plain}\n", titles)
                self.assertIn(f"called from {call.source}", titles)
        for phase in ("in the backlog", "accepted, not yet answered"):
            self.assertIn(f"/fast: {phase}", titles)

    def bars(self, root, kind, path):
        """The bars of a client in the lanes, not in the magnified strip."""
        lanes = root.find(f"{SVG}g[@class='timed']")
        for group in lanes.findall(SVG + "g"):
            rect = group.find(SVG + "rect")
            if rect.get("class") == kind and group.find(SVG + "title").text.startswith(path):
                yield float(rect.get("x")), float(rect.get("width"))

    def scale(self, group):
        (t0, x0), (t1, x1) = [map(float, point.split(",")) for point in group.get("data-points").split()]
        return t0, x0, (x1 - x0) / (t1 - t0)

    def test_the_time_in_the_backlog_is_to_scale(self):
        for name in ("01-blocking", "06-libev --block", "time.sleep in async def, uvicorn"):
            recording = named(name)
            client = recording.clients[1]
            client.connected += 0.1  # as if the connection had taken time
            root = ElementTree.fromstring(svg.draw([recording]))
            t0, x0, pixels = self.scale(root.find(f"{SVG}g[@class='timed']"))
            (x, width), = self.bars(root, "backlog", "/fast")
            self.assertAlmostEqual(x, x0 + (client.connected - t0) * pixels, delta=0.2)
            self.assertAlmostEqual(width, (client.accepted - client.connected) * pixels, delta=0.2)

    def test_all_recordings_are_on_one_scale(self):
        root = ElementTree.fromstring(svg.draw([named("05-epoll"), named("01-blocking")]))
        lanes = root.findall(f"{SVG}g[@class='timed']")[::2]
        scales = [self.scale(each) for each in lanes]
        self.assertAlmostEqual(scales[0][2], scales[1][2], delta=0.1)
        arrivals = [x0 + (svg.zero(named(name)) - t0) * pixels
                    for name, (t0, x0, pixels) in zip(("05-epoll", "01-blocking"), scales)]
        self.assertAlmostEqual(arrivals[0], arrivals[1], delta=0.2)

    def test_the_strips_of_recordings_that_are_compared_show_the_same_moment(self):
        arrival, end = "When /fast arrives", "When clock_nanosleep ends"
        for names, expected in [(["01-blocking"], [end]), (["05-epoll"], [arrival]),
                                (["01-blocking", "06-libev --block"], [end, end]),
                                (["01-blocking", "05-epoll"], [arrival, arrival])]:
            found = [named(name) for name in names]
            text = svg.draw(found)
            self.assertEqual(re.findall("When [^:]*", text), expected, names)
            for recording, (t0, t1, words) in zip(found, svg.moments(found)):
                self.assertEqual(t0 <= recording.clients[1].start <= t1, words == arrival)

    def test_the_strip_shows_the_calls_in_their_order(self):
        root = ElementTree.fromstring(svg.draw([named("05-epoll")]))
        strip = root.findall(f"{SVG}g[@class='timed']")[1]
        names = [group.find(SVG + "title").text.split("(")[0] for group in strip.findall(SVG + "g")
                 if "/fast:" not in group.find(SVG + "title").text]
        self.assertEqual(names, "epoll_pwait accept4 recvfrom sendto close epoll_pwait".split())

    def test_a_thread_that_computes_is_said_to_compute(self):
        text = svg.draw([computing()])
        self.assertIn("computing", text)
        self.assertIn("computes for 900 ms", text)
        self.assertIn("no answer", text)
        self.assertIn("2 other threads have no part in this.", text)

    def test_a_thread_that_only_looks_up_now_and_then_waits(self):
        """The event loop of uvicorn wakes up ten times a second: one bar, with notches."""
        recording = named("asyncio.sleep in FastAPI, uvicorn")
        after = next(each for each in svg.busy_spans(recording.threads[0], recording)
                     if each.kind == "clients" and each.start > recording.clients[1].done)
        self.assertGreater(len(after.calls), 5)
        self.assertGreater(after.end - after.start, 0.8)

    def test_both_colour_schemes_style_the_same_parts(self):
        schemes = svg.STYLE.split("@media (prefers-color-scheme: dark) {")
        light, dark = [{part for parts, style in re.findall(r"([^{}]+)\{([^}]*)\}", scheme) if "#" in style
                        for part in parts.replace("\n", " ").strip().split(", ")} for scheme in schemes]
        self.assertEqual(light, dark)

    def test_picture_has_the_rules_of_what_it_draws(self):
        def parts(style):
            return set(re.findall(r"\.([a-z][\w-]+)(?=[^{}]*\{)", style))

        for text in self.drawn():
            style, _, drawing = text.partition("</style>")
            drawn = set(" ".join(re.findall(r'class="([^"]*)"', drawing)).split())
            self.assertEqual(drawn & parts(svg.STYLE) - parts(style), set())
            self.assertLess(len(style.splitlines()), len(svg.STYLE.splitlines()))
            used, there = (set(re.findall(each, drawing)) for each in (r"url\(#([\w-]+)\)", r'pattern id="([^"]*)"'))
            self.assertEqual(used, there)


# ---- tests of the page

class Page(unittest.TestCase):
    def test_is_one_file_under_500_kB(self):
        seven = (recordings() * 2)[:7]
        built = replay.build(seven)
        self.assertLess(len(built.encode()), 500_000)
        self.assertEqual(set(re.findall(r"https?://[\w.]+", re.sub(r'"(url|arguments)":"[^"]*"', "", built))),
                         {"http://www.w3.org"})
        self.assertNotRegex(built, r"<(?:link (?!rel=.icon. href=.data:)|img|iframe|object|embed)\b|\bsrc=|"
                                   r"@import|url\((?!#)")

    def test_what_is_said_below_a_drawing_is_text_that_can_break_its_lines(self):
        built = replay.build(recordings())
        below = re.findall(r'</svg></div>\n<p class="noted">.*?<br>(.*?)</p>', built.replace("\n</svg>\n", "</svg>"))
        self.assertEqual(below, [svg.RECORDED] * len(recordings()))
        self.assertEqual(built.count(svg.RECORDED), len(below))

    def test_what_is_magnified_is_said_where_a_narrow_screen_shows_it(self):
        seen = """[...document.querySelectorAll(".caption, .lens + text")].filter(each => each.checkVisibility())
            .map(each => [each.textContent, each.getBoundingClientRect().right])"""
        path = tool.scratch() / "narrow.html"
        path.write_text(replay.build([named("05-epoll")]), encoding="utf-8")
        for width, words in ((1200, "When /fast arrives: "), (400, "The lower lanes show ")):
            with Browser(width=width, patience=PATIENCE) as browser:
                browser.open(path.as_uri())
                [(said, right)] = browser.run(seen)
            self.assertEqual(said[:len(words)], words)
            self.assertLess(right, width)

    def test_data_cannot_end_the_script(self):
        built = replay.build([computing()])
        self.assertEqual(built.count("</script>"), 2)
        self.assertNotIn("<b>", built)
        data = json.loads(re.search(r'id="data">(.*?)</script>', built, re.DOTALL)[1])
        self.assertEqual(data["recordings"][0]["name"], NASTY)
        self.assertEqual(data["recordings"][0]["threads"][0]["calls"][0]["stack"][0], f"{NASTY} {NASTY}:1")
        self.assertEqual(data["files"], [[NASTY] * 3])

    def test_without_a_script_the_drawings_and_the_sentences_are_there(self):
        built = re.sub(r"<script.*?</script>", "", replay.build(recordings()), flags=re.DOTALL)
        self.assertIn('<div id="controls" class="controls" hidden>', built)
        self.assertEqual(built.count("<svg "), len(recordings()))
        for each in recordings():
            self.assertIn(html.escape(each.sentence), built)
            self.assertIn(f'<a href="#{replay.slug(each.name)}">', built)
            self.assertIn(f'<section id="{replay.slug(each.name)}"', built)

    def test_ids_are_unique(self):
        ids = re.findall(r'\bid="([^"]*)"', replay.build(recordings()))
        self.assertEqual(len(ids), len(set(ids)))

    def test_script_is_short(self):
        script = re.search(r"<script>\n(.*)</script>", replay.build([]), re.DOTALL)[1]
        self.assertLessEqual(len(script.splitlines()), 400)


class InBrowser(unittest.TestCase):
    def test_an_address_opens_a_recording_at_a_moment(self):
        for name, backlog in [("05-epoll", 0), ("06-libev --block", 1)]:
            address = replay.slug(name)
            with Browser(patience=PATIENCE) as browser:
                opened(browser, replay.build(recordings()), f"#{address}@0.5")
                document = browser.run("document.documentElement.outerHTML")
                self.assertEqual(browser.console, [])
            section = re.search(rf'<section id="{address}".*?</section>', document, re.DOTALL)[0]
            self.assertIn(f"In the backlog: {backlog}<", section)
            recording = named(name)
            line = call_at(recording.threads[0], 0.5 + svg.zero(recording)).source.split(":")[1]
            self.assertIn(f'<li value="{line}" class="now" aria-current="true">', section)
            hidden = re.findall(r'<section id="([^"]*)" hidden', document)
            self.assertEqual({*hidden, address}, {replay.slug(each.name) for each in recordings()})
            self.assertNotIn(address, hidden)

    def test_at_each_moment_it_shows_the_lines_and_the_clients(self):
        moments = [(each, time) for each in recordings() for time in (0.05, 0.1002, 0.5, 1.0)]
        steps = [{"hash": f"#{replay.slug(each.name)}@{time}"} for each, time in moments]
        reports, console = visit(replay.build(recordings()), steps)
        self.assertEqual(console, [])
        for (recording, time), report in zip(moments, reports):
            with self.subTest(recording.name, time=time):
                moment = svg.zero(recording) + time
                self.assertEqual(report["names"], [recording.name])
                self.assertEqual(report["backlog"], in_backlog(recording, moment))
                calls = [call_at(thread, moment) for thread in recording.threads
                         if thread.start <= moment < svg.until(thread.end, recording)]
                self.assertEqual(report["now"], [call.source for call in calls if call and call.source])
                for call in filter(None, calls):
                    self.assertIn(call.plain, report["moment"])
                self.assertEqual(report["clashes"], [])

    def test_the_loop_says_what_it_watches_and_until_when(self):
        recording = named("05-epoll")
        wait = next(each for each in recording.waits if each.start < 0.5 < each.end)
        left = wait.timeout_ms - 1e3 * (0.5 + svg.zero(recording) - wait.start)
        steps = [{"hash": "#05-epoll@0.5"}, {"hash": "#06-libev-block@0.5"}, {"hash": "#01-blocking@0.5"}]
        (epoll, trap, blocking), _ = visit(replay.build(recordings()), steps)
        deadline = f"in {left:.0f} ms (time-out of this wait: {wait.timeout_ms:.0f} ms)"
        self.assertEqual(epoll["loop"], ["The event loop waits", "listener", deadline])
        self.assertEqual(trap["loop"], ["The event loop stands still", "is in clock_nanosleep", "listener"])
        self.assertEqual(blocking["loop"], [])

    def test_two_recordings_stand_side_by_side(self):
        steps = [{"hash": "#05-epoll@0.5"}, {"beside": "01-blocking"}, {"click": "nav a:nth-of-type(2)"}]
        (one, two, other), _ = visit(replay.build(recordings()), steps)
        self.assertEqual((one["names"], len(one["cursors"])), (["05-epoll"], 2))
        self.assertEqual((set(two["names"]), two["backlog"]), ({"01-blocking", "05-epoll"}, ["/fast"]))
        self.assertEqual(set(other["names"]), {"01-blocking", "02-threaded"})
        self.assertAlmostEqual(other["time"], 0.5, delta=1e-4)
        self.assertEqual([each["sideways"] for each in (two, other)], [0, 0])

    def test_keys_go_from_call_to_call_and_play(self):
        recording = named("01-blocking")
        keys = ["Home", "End", "ArrowLeft", "ArrowLeft", "ArrowRight"]
        steps = [{"key": key} for key in keys + ["Home"]]
        steps += [{"key": " ", "wait": 2000}, {"key": " "}, {"wait": 1000}]
        reports, _ = visit(replay.build([recording]), steps)
        times = [report["time"] for report in reports]
        zero = svg.zero(recording)
        begins = [call.start for call in recording.threads[0].calls if call.start >= 0]
        begins += [moment for client in recording.clients for moment in (client.start, client.done)]
        begins = [moment - zero for moment in sorted(begins)]
        expected = [-zero, recording.duration - zero, begins[-1], begins[-2], begins[-1], -zero]
        for time, right in zip(times, expected):
            self.assertAlmostEqual(time, right, delta=1e-5)
        played, took = times[6] - times[5], reports[6]["clock"] - reports[5]["clock"]
        self.assertTrue(0 < played <= took / 10, f"{played} s in {took} s, ten times slower")
        self.assertEqual(times[7:], times[7:8] * 2, "the second space stops it")
        self.assertEqual(reports[6]["spoken"].split(":")[0], f"{times[6] * 1e3:.2f} ms")

    def test_the_arrows_scroll_what_scrolls(self):
        arrow = {"key": "ArrowRight"}
        for width, boxes in ((1200, [".code"]), (400, [".code", ".picture"])):
            steps = [arrow, *[step for box in boxes for step in ({"focus": box}, arrow)]]
            reports, _ = visit(replay.build([named("05-epoll")]), steps, width)
            self.assertEqual(len({report["time"] for report in reports}), 1, (width, boxes))
        reports, _ = visit(replay.build([named("05-epoll")]), [arrow, {"focus": ".picture"}, arrow])
        self.assertLess(reports[0]["time"], reports[2]["time"], "a drawing that fits has nothing to scroll")

    def test_no_page_scrolls_sideways(self):
        names = [replay.slug(each.name) for each in recordings()]
        steps = [{"hash": f"#{name}@{time}"} for name in names for time in (0.1002, 0.5)]
        for width in (1200, 400):
            reports, console = visit(replay.build(recordings()), steps, width)
            self.assertEqual(console, [])
            for report in reports:
                self.assertEqual(report["width"], width)
                self.assertEqual(report["sideways"], 0, report["names"])

    def test_nasty_names_break_nothing(self):
        steps = [{"key": "End"}, *[{"key": "ArrowLeft"}] * 4, {"click": ".stack button"},
                 {"hash": f"#{replay.slug(NASTY)}@0.5"}]
        reports, console = visit(replay.build([computing(), named("05-epoll")]), steps, 400)
        self.assertEqual(console, [])
        for report in reports:
            self.assertEqual((report["names"], report["sideways"]), ([NASTY], 0))
        self.assertEqual(reports[0]["backlog"], ["/fast"])
        self.assertIn(f"{NASTY} computes; ", reports[-1]["moment"])

    def test_with_reduced_motion_it_goes_call_by_call(self):
        steps = [{"wait": 500}, {"key": " ", "wait": 500}, {"wait": 1500}]
        reports, _ = visit(replay.build([named("01-blocking")]), steps, reduced_motion=True)
        times = [report["time"] for report in reports]
        zero = svg.zero(named("01-blocking"))
        self.assertEqual(times[0], 0, "it begins with the first client, and plays when it is told to")
        calls = [call.start - zero for call in named("01-blocking").threads[0].calls] + [0, 0.1]
        for time in times[1:]:
            self.assertTrue(any(abs(time - call) < 0.01 for call in calls), time)
        self.assertGreater(times[2], times[1])


if __name__ == "__main__":
    tool.run(unittests.main)
