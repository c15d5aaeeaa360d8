"""Draw what each of the four loops passes to its wait and looks at, for 1,000 clients of whom one is ready:
loops.svg. It is a drawing of what the interfaces ask for (select(2), poll(2), epoll(7)), and no measurement."""
import html

from recorder import svg

CLIENTS, READY = 1000, 674     # the program finds the one that is ready after this many
ACROSS, STEP = 50, 2.8         # clients in a line, and the width of one
WIDTH, MARGIN, GAP = 480, 12, 16.8
PANEL = ACROSS * STEP
ROW, TOP = 112, 58

TITLES = ["the program passes", "the kernel looks at", "the program looks at"]
# of each loop: its name, its limit, and for each title how many of the clients, and in words
LOOPS = [("03 select", "1,024 descriptors at most",
          [(CLIENTS, "bits, twice"), (CLIENTS, "bits"), (READY, "bits, up to it")]),
         ("04 poll", "as many as there are descriptors",
          [(CLIENTS, "in an array"), (CLIENTS, "of them"), (READY, "of them, up to it")]),
         ("05 epoll", "the program told the kernel of each client before",
          [(0, "nothing"), (1, ""), (1, "")]),
         ("06 libev", "the library does what 05 does, and calls you",
          [(0, "nothing"), (1, ""), (1, "")])]

STYLE = svg.small_style("loops", "text", ".quiet", ".card", light="""\
.loops .rest { fill: #dfe3e8 }
.loops .looked { fill: #2f7fb8 }
.loops .ready { fill: #c2410c }
""", dark="""\
.loops .rest { fill: #2b323b }
.loops .looked { fill: #4ea3dd }
.loops .ready { fill: #ff9a5c }
""")


def dots(kind, x, y, first, last):
    """Return the clients from first to last as dots, row by row."""
    parts = []
    while first < last:
        row, column = divmod(first, ACROSS)
        count = min(last - first, ACROSS - column)
        rows = (last - first) // ACROSS if column == 0 and count == ACROSS else 1
        parts.append(f'<rect x="{x + column * STEP:.1f}" y="{y + row * STEP:.1f}" width="{count * STEP:.1f}" '
                     f'height="{rows * STEP:.1f}" fill="url(#loops-{kind})"/>')
        first += count * rows
    return "".join(parts)


def panel(x, y, count, words):
    """Return a panel: the clients that are looked at, the one that is ready, the others, and words below."""
    first = 0 if count > 1 else READY - 1
    parts = [dots("rest", x, y, 0, CLIENTS), dots("looked", x, y, first, first + count) if count else ""]
    row, column = divmod(READY - 1, ACROSS)
    parts.append(f'<circle class="ready" cx="{x + (column + .43) * STEP:.1f}" cy="{y + (row + .43) * STEP:.1f}" '
                 f'r="{4.5 if count == 1 else 3}"/>')
    shown = f"{count:,}" if count else ""
    parts.append(f'<text x="{x:.1f}" y="{y + CLIENTS / ACROSS * STEP + 14:.0f}"><tspan '
                 f'font-weight="600">{shown}</tspan> <tspan class="quiet">{html.escape(words)}</tspan></text>')
    return "".join(parts)


def draw():
    """Return the picture."""
    height = TOP + ROW * len(LOOPS) + 6
    words = "; ".join(f"{name}: " + ", ".join(f"{title}: {count} ({what})"
                                              for title, (count, what) in zip(TITLES, panels))
                      for name, _, panels in LOOPS)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" class="loops" width="640" viewBox="0 0 {WIDTH} {height}" '
             'role="img" aria-labelledby="loops-title loops-desc">',
             '<title id="loops-title">One turn of four loops</title>', f'<desc id="loops-desc">{words}</desc>',
             f"<style>{STYLE}</style>", "<defs>"]
    for kind in ("rest", "looked"):
        lines.append(f'<pattern id="loops-{kind}" width="{STEP}" height="{STEP}" patternUnits="userSpaceOnUse" '
                     f'x="{MARGIN}" y="{TOP + 22.4}"><rect class="{kind}" width="2.1" height="2.1"/></pattern>')
    lines += ["</defs>", f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
              f'<text class="name" x="{MARGIN}" y="22">One turn, 1,000 clients, one of them '
              '<tspan class="ready">ready</tspan></text>']
    for column, title in enumerate(TITLES):
        lines.append(f'<text class="quiet" x="{MARGIN + column * (PANEL + GAP):.1f}" y="44">{title}</text>')
    for row, (name, limit, panels) in enumerate(LOOPS):
        y = TOP + row * ROW
        lines.append(f'<text x="{MARGIN}" y="{y + 13}"><tspan class="name">{name}</tspan> '
                     f'<tspan class="quiet" dx="6">{html.escape(limit)}</tspan></text>')
        lines += [panel(MARGIN + column * (PANEL + GAP), y + 22.4, *each) for column, each in enumerate(panels)]
    return "\n".join([*lines, "</svg>"]) + "\n"
