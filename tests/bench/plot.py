"""Plots as SVG: panels of bars, or of lines and points, one below the other or side by side.

All axes begin at 0 and are linear, so a bar that is 78 times as long means 78 times as much. What a line or a
bar is stands beside it. A plot reads on white and on dark, and at the width of a phone."""
import html

WIDTH, MARGIN = 440, 14
TITLE, ROW, BAR, GRAPH = 22, 21, 13, 150   # heights
# The colours of Okabe and Ito, which colour-blind readers can tell apart; on dark, brighter ones
COLORS = {"01": ("#d55e00", "#f0803c"), "02": ("#c98500", "#e6a93a"), "03": ("#3d9bd9", "#6cbdf0"),
          "04": ("#0072b2", "#3f9fdd"), "05": ("#00835f", "#2fb890"), "06": ("#b8578f", "#e08abb"),
          "other": ("#818890", "#8b949e")}
LIGHT = {"ink": "#1f2328", "quiet": "#59636e", "page": "#fff", "line": "#d0d7de", "grid": "#e4e7ea"}
DARK = {"ink": "#e6edf3", "quiet": "#9da7b3", "page": "#0d1117", "line": "#3d444d", "grid": "#262c34"}
PAPER = """.plot text {{ fill: {ink} }}
.plot .quiet {{ fill: {quiet} }}
.plot .card {{ fill: {page}; stroke: {line} }}
.plot .grid {{ stroke: {grid} }}
.plot .axis {{ stroke: {quiet} }}
.plot .range {{ stroke: {ink} }}"""


def style(drawn):
    """Return the style of what is drawn."""
    used = {name: color for name, color in COLORS.items() if f'"c{name}' in drawn}

    def rules(paper, shade):
        colors = [f".plot .c{name} {{ fill: {color[shade]}; stroke: {color[shade]} }}"
                  for name, color in used.items()]
        return "\n".join([PAPER.format(**paper), *colors])

    return f"""
.plot {{ font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }}
.plot .title {{ font-size: 15px; font-weight: 600 }}
.plot path.line {{ fill: none; stroke-width: 2.5 }}
.plot .pale {{ opacity: .4 }}
{rules(LIGHT, 0)}
@media (prefers-color-scheme: dark) {{
{rules(DARK, 1)}
}}
"""


class Plot:
    """A picture that grows downwards. y is where the next part begins."""

    def __init__(self, name, shows, description):
        self.name, self.shows, self.description, self.parts, self.y = name, shows, description, [], 10
        self.ranges = False

    def text(self, x, y, words, kind="", anchor="start"):
        kind = f' class="{kind}"' if kind else ""
        anchor = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor}>{html.escape(words)}</text>')

    def title(self, words, *notes):
        """Write a heading, and below it quiet lines."""
        self.text(MARGIN, self.y + 15, words, "title")
        self.y += TITLE
        for words in notes:
            self.note(words)
        self.y += 4

    def note(self, words):
        self.text(MARGIN, self.y + 13, words, "quiet")
        self.y += 17

    def line(self, kind, x0, y0, x1, y1):
        self.parts.append(f'<path class="{kind}" d="M{x0:.1f},{y0:.1f} L{x1:.1f},{y1:.1f}"/>')

    def bars(self, rows, left, room):
        """Draw a bar for each (name, colour, value, words, more). room is kept free for the words after the
        longest bar. more: what comes on top of the value, pale; or (least, most), a thin line. Without a
        value, the words stand alone."""
        most = max(max(value, more[1]) if isinstance(more, tuple) else value + (more or 0)
                   for _, _, value, _, more in rows if value is not None)
        scale = (WIDTH - left - room) / most
        top = self.y
        for name, color, value, words, more in rows:
            middle, end = self.y + ROW / 2, left
            self.text(left - 8, middle + 4.5, name, anchor="end")
            if value is not None:
                end = left + max(value * scale, 1)
                self.box(f"c{color}", left, end, middle)
                if isinstance(more, tuple):
                    self.ranges = True
                    self.line("range", left + more[0] * scale, middle, left + more[1] * scale, middle)
                    end = max(end, left + more[1] * scale)
                elif more:
                    self.box(f"c{color} pale", end, end + more * scale, middle)
                    end += more * scale
            self.text(end + 6, middle + 4.5, words, "" if value is not None else "quiet")
            self.y += ROW
        self.line("axis", left, top, left, self.y)
        self.y += 12

    def box(self, kind, x0, x1, middle):
        self.parts.append(f'<rect class="{kind}" x="{x0:.1f}" y="{middle - BAR / 2}" width="{x1 - x0:.1f}" '
                          f'height="{BAR}" stroke="none"/>')

    def graph(self, x, width, across, up, series, labels):
        """Draw lines, or points, in a panel at x. across and up: {value: its words at the axis}, the last is
        the end. series: (colour, points, is it a line?); labels: (x, y, words, anchor) in values. Return
        where the panel ends."""
        x_most, y_most, top, bottom = max(across), max(up), self.y + 8, self.y + 8 + GRAPH

        def at(a, b):
            return x + a / x_most * width, bottom - b / y_most * GRAPH

        for b, words in up.items():
            self.line("grid", x, at(0, b)[1], x + width, at(0, b)[1])
            self.text(x - 6, at(0, b)[1] + 4.5, words, "quiet", "end")
        for a, words in across.items():
            self.line("axis", at(a, 0)[0], bottom, at(a, 0)[0], bottom + 4)
            self.text(at(a, 0)[0], bottom + 18, words, "quiet", "middle" if a < x_most else "end")
        self.line("axis", x, bottom, x + width, bottom)
        self.line("axis", x, top, x, bottom)
        for color, points, is_line in series:
            places = ["{:.1f},{:.1f}".format(*at(*point)) for point in points]
            if is_line and places:
                self.parts.append(f'<path class="c{color} line" d="M{" L".join(places)}"/>')
            dots = " ".join(f"M{place} h0" for place in places)
            self.parts.append(f'<path class="c{color}" d="{dots}" stroke-width="{7 if is_line else 4.2}" '
                              'stroke-linecap="round"/>')
        for a, b, words, anchor in labels:
            self.text(*at(a, b), words, anchor=anchor)
        return bottom + 30

    def draw(self, measured_on):
        """Return the picture, with a line that says where it was measured."""
        if self.ranges:
            self.note("bar: the median; thin line: least to most")
        self.text(MARGIN, self.y + 12, measured_on, "quiet")
        height = self.y + 24
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" width="{WIDTH * 4 // 3}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-labelledby="{self.name}-title {self.name}-desc">',
            f'<title id="{self.name}-title">{html.escape(self.shows)}</title>',
            f'<desc id="{self.name}-desc">{html.escape(self.description)}</desc>',
            f"<style>{style(''.join(self.parts))}</style>",
            f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>',
            *self.parts, "</svg>"]) + "\n"
