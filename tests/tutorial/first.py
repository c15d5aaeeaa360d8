"""Draw first.svg: the same two requests to 01 and to 05, on one axis of time, from their recordings."""
import html
import math

from recorder import svg

WIDTH, LEFT, RIGHT = 480, 92, 466
LANE, BAR, ROW, TOP = 27, 20, 132, 14
END = 1.06                     # seconds that are shown
MUCH = 0.02                    # a wait of so many seconds is drawn
ABOUT = {"01-blocking": ("01-blocking", "one client at a time"), "05-epoll": ("05-epoll", "an event loop")}
WAITS = {"delay": "sleeps for /slow", "clients": "waits for any client"}

STYLE = svg.small_style("first", "text", ".quiet", ".card", ".lane", ".accepted", ".backlog", ".clients", ".delay",
                        ".arrival")


def at(seconds):
    return LEFT + (min(max(seconds, 0), END)) / END * (RIGHT - LEFT)


def bar(kind, start, end, y, words="", after=0):
    """Draw a bar. Its words are to the right of the line at the moment after."""
    x, width = at(start), max(at(end) - at(start), 2)
    label = f'<text x="{max(x, at(after)) + 7:.1f}" y="{y + 14.5}">{html.escape(words)}</text>' if words else ""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y + .5}" width="{width:.1f}" height="{BAR - 1}" rx="2"/>{label}'


def lane(y, name):
    return (f'<text x="14" y="{y + 14.5}">{name}</text>'
            f'<rect class="lane" x="{LEFT}" y="{y}" width="{RIGHT - LEFT}" height="{BAR}"/>')


def server(recording, y):
    """Return the lanes of a recording: /slow, /fast and the only thread."""
    zero, (name, about) = svg.zero(recording), ABOUT[recording.name]
    slow, fast = sorted(recording.clients, key=lambda client: client.start)
    took, arrival = fast.done - fast.start, fast.start - zero
    verdict = "/fast waits" if recording.serializes else "/fast does not wait"
    parts = [f'<text x="14" y="{y + 12}"><tspan class="name">{name}</tspan> <tspan class="quiet" dx="4">{about}: '
             f'</tspan><tspan font-weight="600">{verdict}</tspan></text>']
    y += 22
    parts += [lane(y, "/slow"),
              bar("accepted", slow.start - zero, slow.done - zero, y, "accepted, not yet answered", arrival)]
    y += LANE
    parts.append(lane(y, "/fast"))
    if fast.accepted - fast.connected > MUCH:
        parts.append(bar("backlog", fast.start - zero, fast.accepted - zero, y, "in the backlog, not accepted"))
    parts.append(bar("accepted", fast.accepted - zero, fast.done - zero, y))
    if took < MUCH:
        parts.append(f'<text x="{at(fast.done - zero) + 7:.1f}" y="{y + 14.5}">answered within {math.ceil(took * 1e3)} '
                     f'ms</text>')
    y += LANE
    thread, = recording.threads
    parts.append(lane(y, "its thread"))
    for call in thread.calls:
        end = recording.duration if call.end is None else call.end
        if call.waits_for in WAITS and end - call.start > MUCH and end > zero:
            wide = end - max(call.start, zero) > 0.4
            words = f"{WAITS[call.waits_for]}: {call.name}" if wide else ""
            parts.append(bar(call.waits_for, call.start - zero, end - zero, y, words, arrival))
    return parts


def draw(recordings):
    """Return the picture."""
    height = TOP + ROW * len(recordings) + 16
    told = " ".join(f"{each.name}: {each.sentence}" for each in recordings)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" class="first" width="640" viewBox="0 0 {WIDTH} {height}" '
             'role="img" aria-labelledby="first-title first-desc">',
             '<title id="first-title">The same two requests to two servers with one thread each</title>',
             f'<desc id="first-desc">{html.escape(told)}</desc>', f"<style>{STYLE}</style>",
             f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>']
    for number, each in enumerate(recordings):
        lines += server(each, TOP + number * ROW)
    bottom = TOP + ROW * len(recordings) - 24
    fast = at(max(client.start for client in recordings[0].clients) - svg.zero(recordings[0]))
    line = " ".join(f"M{fast:.1f},{TOP + 20 + number * ROW} v{3 * LANE}" for number in range(len(recordings)))
    lines.append(f'<path class="arrival" d="{line}"/>')
    for x, words in [(at(0), "0"), (fast + 32, "/fast arrives"), (at(0.5), "0.5 s"), (at(1), "1 s")]:
        lines.append(f'<text class="quiet" x="{x:.1f}" y="{bottom + 22}" text-anchor="middle">{words}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
