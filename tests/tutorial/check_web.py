#!/usr/bin/env python3
"""Is the page of the tutorial readable? Make it, and ask a headless Chromium at 400 and at 1200 pixels: nothing scrolls
sideways but boxes that are meant to, all pictures load, all links into the page lead somewhere, each block of commands
has its button, and the console has no error. Without JavaScript, the page has all its text.

Exit status: 0 if all of this holds; 1 if not; 2 for a bad command line."""
import html
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import lab  # noqa: E402
import page  # noqa: E402

WIDTHS = [400, 1200]
PROBE = """<script>
var errors = [];
addEventListener("error", event => errors.push(event.message));
addEventListener("load", () => {
  const all = css => [...document.querySelectorAll(css)];
  const root = document.documentElement;
  parent.postMessage({ width: innerWidth, errors, sideways: root.scrollWidth - root.clientWidth,
    pictures: all("img").length, broken: all("img").filter(each => !each.naturalWidth).map(each => each.alt),
    mute: all("img").filter(each => each.alt.length < 20).length,
    thin: all(".scroll img").filter(each => each.getBoundingClientRect().width < 800).length,
    dead: all("a[href^='#']").filter(each => !document.getElementById(each.hash.slice(1))).map(each => each.hash),
    blocks: all(".commands").length, buttons: all(".commands button").length,
    files: all("pre.c, pre.python, pre.diff, pre.nginx").length, named: all(".file + pre").length,
    beside: document.querySelector("main").getBoundingClientRect().left >= 200 }, "*");
});
</script>
"""
FRAMES = """<!doctype html><pre id="reports"></pre><script>
const all = [];
addEventListener("message", ({ data }) => {
  all.push(data);
  document.getElementById("reports").textContent = JSON.stringify(all);
});
</script>
"""
failed = passed = 0


def say(holds, words):
    global failed, passed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {words}")


def browse(file):
    """Return the document as Chromium leaves it, and what it wrote to its console."""
    lab.need("chromium", "deps-tools")
    browser = lab.start(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={lab.scratch() / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", file.as_uri()],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    document, log = lab.finish(browser)
    return document, [line for line in log.splitlines() if ":CONSOLE" in line]


def reports(built):
    """Open a page in a frame of each width. Return a report for each, and what was written to the console."""
    (lab.scratch() / "page.html").write_text(built.replace("<style>", PROBE + "<style>", 1), encoding="utf-8")
    frames = "".join(f'<iframe width="{width}" height="800" src="page.html"></iframe>' for width in WIDTHS)
    file = lab.scratch() / "frames.html"
    file.write_text(FRAMES + frames, encoding="utf-8")
    document, console = browse(file)
    found = re.search(r'<pre id="reports">(.*?)</pre>', document, re.S)
    return json.loads(html.unescape(found[1]) if found and found[1] else "[]"), console


def check(report):
    width = report["width"]
    say(report["errors"] == [], f"{width} px: errors: {report['errors']}")
    say(report["sideways"] <= 0, f"{width} px: the page scrolls sideways by {report['sideways']} px")
    say(report["pictures"] >= 12 and not report["broken"], f"{width} px: pictures do not load: {report['broken']}")
    say(report["mute"] == 0, f"{width} px: {report['mute']} pictures have no text that says what they show")
    say(report["thin"] == 0, f"{width} px: {report['thin']} pictures are too small to read")
    say(report["dead"] == [], f"{width} px: links lead nowhere: {report['dead']}")
    say(0 < report["blocks"] == report["buttons"], f"{width} px: {report['buttons']} buttons, {report['blocks']} blocks")
    say(0 < report["files"], f"{width} px: there is no code")
    say(report["beside"] == (width > 1000), f"{width} px: the contents are not where they should be")


def main(arguments):
    lab.Parser(description=__doc__).parse_args(arguments)
    built = page.build(lab.scratch() / "page.html")
    say(built.startswith('<!doctype html>\n<html lang="en">'), "the page does not name its language")
    plain = re.sub(r"<script>.*?</script>", "", built, flags=re.S)
    say("<button" not in plain and plain.count("<h2") >= 15, "without JavaScript, something is missing")
    say(not re.search(r'(src|href)="https?://[^"]*\.(js|css|svg|png)"', built), "the page loads something")
    found, console = reports(built)
    say(sorted(report["width"] for report in found) == WIDTHS, f"Chromium reports on {len(found)} pages")
    say(console == [], f"the console: {console}")
    for report in found:
        check(report)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    lab.run(main)
