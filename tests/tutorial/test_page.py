"""Is the page of the tutorial readable? Make it, and ask a headless Chromium at 400 and at 1200 pixels: nothing
scrolls sideways but boxes that are meant to, all pictures load, all links into the page lead somewhere, each
block of commands has its button, each snippet its file, and the console has no error. Each recording plays in
its place, and shows at each step the lines and the clients that were recorded. What a prediction is about is folded
until the reader has chosen. Each experiment is a frame when it comes into view. At 200 % and printed, the page
can be read; a player has its buttons, its drawing and its code on one screen; axe-core finds nothing. Without
JavaScript, the page has all its text and pictures.

Exit status: 0 if all of this holds; 1 if not; 2 for a bad command line."""
import base64
import re

from bench import figures
from kit import tool
from kit.browser import Browser
from kit.commandline import Parser
from kit.tree import ROOT
from recorder import replay, strace_log, svg, symbols
from recorder import test_page as page_test
from simulation.test_page import axe_core
from tutorial import page, pictures
from tutorial.check_tutorial import say, summed_up

HERE = __file__.rpartition("/")[0]

WIDTHS = [400, 1200]
MOST = 650_000    # bytes of the page
FORWARD = 14      # steps from the beginning of a recording
MORE_EACH = 5     # for each recording that is compared with it
MORE = """{
  focus: document.activeElement.className, players: seen(".buttons, .details").length,
  drawn: all(".open g.timed").map(each => each.querySelectorAll(".cursor").length),
  pictures: all("img, .picture svg").length,
  broken: all("img").filter(each => !each.naturalWidth).map(each => each.alt),
  mute: all("img, .picture svg").map(each => each.alt || each.getAttribute("aria-label") || "")
    .filter(words => words.length < 20).length,
  thin: all(".scroll img, .scroll svg").filter(each => each.getBoundingClientRect().width < 800).length,
  wide: all("table").filter(each => !each.closest(".scroll")).length,
  dead: all("a[href^='#']").map(each => each.hash).filter(each => !document.getElementById(each.slice(1))),
  bare: all("main :is(h2, h3):not(:has(a.here))").length,
  blocks: all(".commands").length, buttons: all(".commands > button").length,
  copied: all(".commands code").filter(each => /copy|^\\$ /.test(each.textContent)).length,
  files: all("pre.c, pre.python, pre.diff, pre.nginx").length,
  nameless: all("pre.c, pre.python, pre.diff, pre.nginx").filter(each =>
    !/[\\w-]+\\/[\\w.-]+\\.\\w+/.test(each.previousElementSibling.textContent)).map(each => each.textContent),
  folded: all(".fold[hidden]").length, asked: seen(".choices").length, said: texts(".said"),
  contents: seen("nav li").length,
  ...Object.fromEntries([["found", "a"], ["marked", "mark"], ["searched", "li"]].map(([name, tag]) =>
    [name, all(`#found ${tag}`).map(each => each.textContent)])),
  beside: document.querySelector("main").getBoundingClientRect().left >= 200 }"""
SHOWN = [name for name in re.findall(r"\]\(([^)]+)\)", (ROOT / "tutorial.md").read_text(encoding="utf-8"))
         if name in pictures.PICTURES]


def check(report):
    """The page as it opens."""
    width = report["width"]
    say(report["sideways"] <= 0, f"{width} px: the page scrolls sideways by {report['sideways']} px")
    say(report["pictures"] >= 10, f"{width} px: there are only {report['pictures']} pictures")
    say(not report["broken"], f"{width} px: pictures do not load: {report['broken']}")
    say(report["mute"] == 0, f"{width} px: {report['mute']} pictures have no text that says what they show")
    say(report["thin"] == 0, f"{width} px: {report['thin']} pictures are too small to read")
    say(report["clashes"] == [], f"{width} px: words in pictures overlap: {report['clashes']}")
    say(report["wide"] == 0, f"{width} px: {report['wide']} tables may be cut off")
    say(report["dead"] == [], f"{width} px: links lead nowhere: {report['dead']}")
    say(report["bare"] == 0, f"{width} px: {report['bare']} headings have no link")
    say(0 < report["blocks"] == report["buttons"],
        f"{width} px: {report['buttons']} buttons, {report['blocks']} blocks of commands")
    say(report["copied"] == 0, f"{width} px: {report['copied']} buttons copy more than the commands")
    say(0 < report["files"] and not report["nameless"], f"{width} px: code of no file: {report['nameless']}")
    say(report["beside"] == (width > 1000), f"{width} px: the contents are not where they should be")


PREDICTIONS = (ROOT / "tutorial.md").read_text(encoding="utf-8").count("<!-- choices:")
READING = [{"click": ".choices button"}, {"click": "nav summary"}, {"search": "level-triggered", "wait": 500},
           {"search": "level-triggered spoons"}, {"click": "#unfold"}]


def read(reports):
    """Choose, open the contents, search, and see all answers."""
    chosen, opened, searched, missed, unfolded = reports
    width = chosen["width"]
    say(chosen["folded"] == chosen["asked"] == PREDICTIONS - 1 >= 8,
        f"{width} px: {chosen['asked']} questions and {chosen['folded']} folded parts, after one of {PREDICTIONS}")
    say(len(chosen["said"]) == 1, f"{width} px: what the reader said is not shown: {chosen['said']}")
    if width < 1000:
        say(chosen["contents"] == 0 < opened["contents"], f"{width} px: the contents do not open")
    say(len(searched["found"]) >= 3, f"{width} px: the search finds {searched['found']}")
    say({each.lower() for each in searched["marked"]} == {"level-triggered"},
        f"{width} px: the places that the search finds do not show why: {searched['marked']}")
    say(missed["searched"] == ["Nothing on this page has all of these words."],
        f"{width} px: where nothing is found, the search says {missed['searched']}")
    say(unfolded["folded"] == unfolded["asked"] == 0, f"{width} px: not all answers are shown")


def selector(picture):
    names = " ".join(replay.slug(each.name) for each in pictures.recordings(picture))
    return f'.replay[data-recordings="{names}"]'


def steps(picture):
    """Play a recording for half a second, drag it to the middle, go to its beginning, then from call to call,
    then to its end, and close it."""
    box = selector(picture)
    forward = FORWARD + MORE_EACH * (len(pictures.PICTURES[picture]) - 1)
    keys = ["Home", *["ArrowRight"] * forward, "ArrowLeft", "End"]
    return [{"click": f"{box} .start", "wait": 500}, {"click": f"{box} .play"}, {"slide": 0.5},
            *[{"key": key} for key in keys], {"focus": f"{box} .code:not([hidden])"}, {"key": "ArrowLeft"},
            {"key": "Escape"}]


def expected(recordings, time):
    """Return what a player shows at a moment: the lines where threads are, and the clients in the backlog."""
    lines, backlog = [], []
    for recording in recordings:
        moment = time + svg.zero(recording) + 1e-7  # the slider rounds its value
        calls = [page_test.call_at(thread, moment) for thread in recording.threads
                 if thread.start <= moment and (thread.end is None or moment < thread.end)]
        lines += [call.source for call in calls if call and call.source]
        backlog += page_test.in_backlog(recording, moment)
    return lines, backlog


def play(picture, reports):
    recordings = pictures.recordings(picture)
    width, zero = reports[0]["width"], max(map(svg.zero, recordings))
    where = f"{width} px: {picture}"
    played, paused, dragged, *walk, focused, scrolled, closed = reports
    say(0 < played["time"] < 0.9, f"{where}: after half a second, call by call, at {played['time']} s")
    say(scrolled["time"] == focused["time"], f"{where}: an arrow that scrolls the code moves the replay")
    say(dragged["time"] == 0.5, f"{where} was dragged to 0.5 s, and is at {dragged['time']} s")
    say({each["players"] for each in reports[:-1]} == {2}, f"{where} does not open")
    say(closed["players"] == 0, f"{where} does not close")
    say("play" in paused["focus"] and "start" in closed["focus"], f"{where}: the focus is lost")
    say(paused["drawn"] == [1, 1] * len(recordings), f"{where}: not each part of the drawing has a cursor")
    say(closed["cursors"] == [], f"{where}: the cursors stay")
    times = [each["time"] for each in walk]
    begin, *forward, back, end = times
    say(begin == -zero and forward == sorted(set(forward)) and back == forward[-2] and end > 1,
        f"{where} does not go from call to call: {times}")
    for each in [dragged, *walk]:
        shown, right = (each["now"], each["backlog"]), expected(recordings, each["time"])
        say(shown == right, f"{where}, at {each['time']} s: it shows {shown}, and recorded is {right}")
    lines = {tuple(each["now"]) for each in walk}
    say(len(lines) >= 3, f"{where}: it highlights no line that changes: {lines}")
    say(all(each["sideways"] <= 0 for each in reports), f"{where}: the page scrolls sideways")


def recorded():
    """The pictures are drawn from the recordings that are kept, and the code that these name is there."""
    for picture in pictures.PICTURES:
        found = pictures.recordings(picture)
        same = (ROOT / picture).read_text(encoding="utf-8") == svg.draw(found)
        say(same, f"{picture} does not show its recording: make pictures")
        named = {call.source.rpartition(":")[0] for each in found for thread in each.threads
                 for call in thread.calls if call.source}
        stale = named.difference(*(each.sources for each in found))
        say(not stale, f"{picture}: {', '.join(stale)} has changed since it was recorded: make pictures")
    first = (ROOT / "tests/tutorial/first.svg").read_text(encoding="utf-8")
    words = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="[\d.]+">(?!its|/)', first) if x != "14"]
    line = float(re.search(r'class="arrival" d="M([\d.]+)', first)[1])
    say(len(words) >= 5 and min(words) > line, f"first.svg: a line at {line} goes through words that begin at {words}")
    for path in sorted(pictures.KEPT.glob("*.strace")):
        log, = strace_log.read(path.read_text())
        named = {(frame.object, frame.address) for call in log.calls for frame in call.stack}
        more = symbols.known_places(log).keys() - named
        say(not more, f"{path.name} names lines of calls that are not in it: make pictures")
    for make, drawings in (("pictures", pictures.others()), ("figures", figures.drawn())):
        for picture, drawing in drawings.items():
            same = (ROOT / picture).read_text(encoding="utf-8") == drawing
            say(same, f"{picture} is not what is drawn now: make {make}")


def without_script(built):
    plain = re.sub(r"<script.*?</script>", "", built, flags=re.S)
    say(built.startswith('<!doctype html>\n<html lang="en">'), "the page does not name its language")
    say("<button" not in plain and plain.count("<h2") >= 15, "without JavaScript, something is missing")
    say(plain.count("<svg xmlns") == len(SHOWN) >= 6, "without JavaScript, pictures are missing")
    captions = re.findall(r"<li><figure><svg.*?<figcaption>(.*?)</figcaption></figure></li>", plain, re.S)
    say(len(captions) >= 5 and not re.search(r"<li hidden|\sstyle=.display", plain),
        f"without JavaScript, of the drawing in scenes there are {len(captions)}")
    broken = re.findall(r"<[a-z][^<>]*<.{20}", plain)
    say(not broken, f"these tags have no end: {broken[:3]}")
    loads = re.findall(r'<link (?!rel=.icon. href=.data:)[^>]*|<iframe[^>]*|@import[^;]*|url\((?!#)[^)]*|'
                       r'\ssrc="(?!data:)[^"]*', plain)
    say(not loads, f"the page loads something: {loads}")
    ids = sorted(re.findall(r'\sid="([^"]*)"', plain))
    twice = [one for one, other in zip(ids, ids[1:]) if one == other]
    say(not twice, f"more than one part of the page has the id {twice}")
    say(len(built.encode()) < MOST, f"the page has {len(built.encode())} bytes")


# ---- as a person uses it

# A page in place of the simulation: it says how high it is.
STUB = "<!doctype html><title>stub</title><script>parent.postMessage({ playHeight: 321 }, '*')</script>"
MOST_PRINTED = 3_000_000          # bytes; a Chromium before 130 writes more for the same page, here 3.3 MB
SCREENS = [(400, 800), (600, 400), (1200, 800)]  # the second: 1200 x 800 at 200 %
SMALL = """[...document.querySelectorAll("button, summary, select, input, nav a, .here, .file a, .neighbours a")]
  .filter(each => each.checkVisibility()).map(each => [each, each.getBoundingClientRect()])
  .filter(([, box]) => box.width > 1 && (box.width < 23.9 || box.height < 23.9))
  .map(([each, box]) => `${each.className || each.id || each.tagName} ${box.width} x ${box.height}`)"""
# What of an open player is above or below the screen: the buttons, the lanes of the drawing, and the line of code
OUTSIDE = """[".open .buttons", ".open .picture g.timed", ".open .code li[aria-current]"]
  .map(css => [css, document.querySelector(css).getBoundingClientRect()])
  .filter(([, box]) => box.top < 0 || box.bottom > innerHeight).map(([css]) => css)"""
# What is shown between a question and the next one, before the reader has chosen
SPOILT = """[...document.querySelectorAll(".choices")].flatMap(box => {
  const shown = [];
  for (let next = box.nextElementSibling; next && !next.matches("h1, h2, .choices"); next = next.nextElementSibling)
    if (next.matches(".simulated, .output, .replay")) shown.push(next.outerHTML.slice(0, 80));
  return shown; })"""
# The contents name the chapter that is in sight
MARKED = """document.querySelector("nav [aria-current]")?.textContent === "Glossary" &&
  document.getElementById("here").textContent === ": Glossary" """
# Choose where a simulation unfolds: is what was said on the screen, when the parts below have grown?
SAID = """(async () => {
  const box = document.querySelector(".choices:has(+ .fold > .simulated)");
  box.scrollIntoView();
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  box.querySelector("button").click();
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  const { top, bottom } = document.querySelector(".said").getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight; })()"""
# Without scripts: parts that take room with nothing in them, and parts that are hidden
BARE = """[[...document.querySelectorAll("main div")].filter(each => !each.firstChild &&
    each.getBoundingClientRect().height > 0).length, document.querySelectorAll("main [hidden]").length]"""
# What each recording shows, and what each output says, in sentences: those of which a part is outside its box, and
# the boxes without any
CUT = """[...document.querySelectorAll(".replay, pre:has(.prose)")].flatMap(box => {
  if (!box.checkVisibility()) return [];
  const { left, right } = box.getBoundingClientRect();
  const told = [...box.querySelectorAll(".told, .sentence, .prose, .noted, .lens + text")]
    .filter(each => each.checkVisibility());
  const cut = (each, at = each.getBoundingClientRect()) =>
    at.left < left - 1 || at.right > right + 1 || each.scrollWidth > each.clientWidth + 1;
  return told.length ? told.filter(each => cut(each)).map(each => each.textContent) : [box.dataset.recordings]; })"""
# Names and options of which the end is in the next line
BROKEN = """[...document.querySelectorAll("main .word")]
  .filter(each => each.getClientRects().length > 1).map(each => each.textContent)"""
# How much of the screen stays covered while one reads
COVERED = "document.querySelector('nav').getBoundingClientRect().bottom / innerHeight"


def player(browser, where):
    """Open a recording, step, scroll the drawing by hand, play at a speed, and close."""
    browser.run("document.querySelector('.replay .start').click()")
    for _ in range(4):
        browser.key("ArrowRight")
    outside = browser.run(OUTSIDE)
    say(outside == [] or "600" in where, f"{where}: code and drawing are not on one screen: {outside} are outside")
    moved = browser.run("""(picture => {
      picture.dispatchEvent(new Event("touchstart"));
      picture.scrollLeft = 40;
      return picture.scrollLeft; })(document.querySelector(".open .picture"))""")
    browser.key("ArrowRight")
    now = browser.run("document.querySelector('.open .picture').scrollLeft")
    say(now == moved, f"{where}: the drawing is at {moved} px, and a step moves it to {now} px, against the finger")
    browser.run("""window.drawn = 0; window.frame = window.requestAnimationFrame;
      window.requestAnimationFrame = call => window.frame(now => { window.drawn++; call(now); });
      document.querySelector(".open .speed").value = "0.01"; document.querySelector(".open .play").click()""")
    browser.wait("window.drawn > 5")
    browser.key("Escape")
    closed = browser.run("!document.querySelector('.open') && document.activeElement.className")
    say(closed == "start", f"{where}: Esc does not close the player, or the focus is lost: {closed}")
    browser.run("window.requestAnimationFrame = window.frame; document.querySelector('.speed').value = '0'")


def compared(browser, where):
    """Recordings that are compared have their code and the drawing on one wide screen, too."""
    number = browser.run("document.querySelectorAll(\".replay[data-recordings*=' ']\").length")
    say(number >= 3, f"{where}: only {number} comparisons were found: does this test still see them?")
    for each in range(number):
        browser.run(f"document.querySelectorAll(\".replay[data-recordings*=' '] .start\")[{each}].click()")
        for _ in range(4):
            browser.key("ArrowRight")
        outside = browser.run(OUTSIDE)
        say(outside == [], f"{where}: comparison {each}: {outside} are not on the screen")
        browser.key("Escape")


def experiments(browser, where):
    """Scroll through all experiments."""
    number = browser.run("document.querySelectorAll('.simulated').length")
    for each in range(number):
        browser.run(f"document.querySelectorAll('.simulated')[{each}].scrollIntoView()")
        browser.wait(f"document.querySelectorAll('.simulated')[{each}].querySelector('iframe')?.style.height === "
                     f"'321px'")
    shown = browser.run("[document.querySelectorAll('.simulated iframe').length, "
                        "document.querySelectorAll('.simulated button').length]")
    say(number >= 8 and shown == [3, number - 3],
        f"{where}: {shown} of {number} experiments are shown, and are buttons")
    browser.run("document.querySelector('.simulated button').click()")
    browser.wait("document.querySelector('.simulated iframe')?.style.height === '321px'")


def scenes(browser, where):
    """Step through the drawing in scenes: by its buttons, by a tap, and by keys. All words can be read."""
    box = "document.querySelector('.stepped')"
    at = f"[...{box}.querySelectorAll('li')].flatMap((each, i) => each.checkVisibility() ? [i] : [])"
    last = browser.run(f"{box}.querySelectorAll('li').length") - 1
    browser.run(f"{box}.scrollIntoView()")
    walk = [browser.run(at)]
    for words in "Next", "Next", "Back":
        browser.click(words, ".stepped button")
        walk.append(browser.run(at))
    browser.click_at(*browser.middle(f"{box}.querySelector('li:not([hidden]) .scene')"))
    walk.append(browser.run(at))
    browser.run(f"{box}.focus()")
    for key in "ArrowRight", "ArrowLeft", "ArrowLeft", "Home", "ArrowLeft", "End", "ArrowRight":
        browser.key(key)
        walk.append(browser.run(at))
    browser.click("Next", ".stepped button")  # at the end, it stays
    walk.append(browser.run(at))
    say(walk == [[each] for each in [0, 1, 2, 1, 2, 3, 2, 1, 0, 0, last, last, last]],
        f"{where}: the scenes shown are {walk}")
    clashes = browser.run(f"({page_test.CLASHES})({box}.querySelector('li:not([hidden]) .scene'))")
    say(clashes == [], f"{where}: words in a scene overlap: {clashes}")
    letters = browser.run(f"{box}.querySelector('li:not([hidden]) .mono').getBoundingClientRect().height")
    say(letters > 9, f"{where}: the words of a scene are {letters} px high")


def use(built, axe):
    (tool.scratch() / "used.html").write_text(built, encoding="utf-8")
    with Browser(patience=120) as browser:  # axe-core looks at all of a long page
        for width, height in SCREENS:
            for dark in False, True:
                where = f"{width} x {height} px{', dark' if dark else ''}"
                browser.resize(width, height)
                browser.emulate(dark)
                browser.open((tool.scratch() / "used.html").as_uri())
                spoilt = browser.run(SPOILT)
                say(spoilt == [], f"{where}: shown before the reader has chosen: {spoilt}")
                seen = browser.run(SAID)
                say(seen, f"{where}: what the reader has said is not on the screen")
                browser.run("document.getElementById('unfold').click()")
                sideways = browser.run("document.documentElement.scrollWidth - innerWidth")
                say(sideways <= 0, f"{where}: the page scrolls sideways by {sideways} px")
                cut = browser.run(CUT)
                say(cut == [], f"{where}: what a recording shows is cut off: {cut}")
                broken = browser.run(BROKEN)
                say(broken == [], f"{where}: a line ends in the middle of {broken}")
                browser.run("location.hash = 'glossary'")
                browser.wait(MARKED)
                small = browser.run(SMALL)
                say(small == [], f"{where}: too small for a finger: {small}")
                if width < 1000:
                    covered = browser.run(COVERED)
                    say(covered < 0.2, f"{where}: the contents cover {covered:.0%} of the screen")
                if axe:
                    browser.run(axe + "; 0")
                    found = browser.run(
                        "axe.run(document, {iframes: false}).then(found => found.violations.map(each => "
                        "each.id + ': ' + each.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(' | ')))")
                    say(found == [], f"{where}: axe-core finds {found}")
                if not dark:
                    player(browser, where)
                    if width > 1000:
                        compared(browser, where)
                    scenes(browser, where)
                    experiments(browser, where)
        browser.without_scripts()
        browser.open((tool.scratch() / "used.html").as_uri())
        bare = browser.run(BARE)
        say(bare == [0, 0], f"without scripts, {bare[0]} parts have nothing to show, and {bare[1]} are folded")
        browser.resize(*SCREENS[0])
        browser.run("scrollTo(0, 5000)")
        covered = browser.run(COVERED)
        say(covered < 0.2, f"without scripts, the contents cover {covered:.0%} of the screen")
        browser.without_scripts(False)
        browser.open((tool.scratch() / "used.html").as_uri())
        printed = len(base64.b64decode(browser.send("Page.printToPDF", printBackground=True)["data"]))
        version = int(re.search(r"/(\d+)", browser.send("Browser.getVersion")["product"])[1])
        say(100_000 < printed < MOST_PRINTED * (1 if version >= 130 else 1.2), f"printed, the page has {printed} bytes")
        say(browser.console == [], f"the console: {browser.console}")


def main(arguments):
    Parser(description=__doc__).parse_args(arguments)
    tool.need("chromium", "deps-tools")
    built = page.build(tool.scratch() / "page.html", "")
    without_script(built)
    recorded()
    axe = axe_core()
    if axe is None:
        print("not tested: what axe-core says, because npm is missing, or has no axe-core")
    use(page.build(tool.scratch() / "page.html", STUB), axe)
    walks = [steps(picture) for picture in SHOWN]
    for width in WIDTHS:
        reports, console = page_test.visit(built, [{}, *READING, *sum(walks, [])], width, more=MORE)
        say(console == [], f"the console: {console}")
        say(reports[0]["width"] == width, f"{width} px: Chromium reports on {reports[0]['width']} px")
        check(reports.pop(0))
        read(reports[:len(READING)])
        reports = reports[len(READING):]
        for picture, walk in zip(SHOWN, walks):
            play(picture, reports[:len(walk)])
            reports = reports[len(walk):]
    return summed_up()


if __name__ == "__main__":
    tool.run(main)
