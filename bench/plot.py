"""The plot: CPU time an answer of each server as a bar, to that of the reference, a group a case."""

from html import escape

# Series by what they are: the subject of a case, then rivals. Colours that stand out on white and on black.
SERIES = (
    ("phantom-frame", "#d9480f"),
    ("nginx with open_file_cache", "#2f9e44"),
    ("nginx, static files", "#4c8dae"),
    ("Varnish, malloc", "#8a7fb5"),
)
RIVALS = {"nginx-tuned": 1, "nginx-static": 2, "varnish": 3}
WIDTH, LEFT, RIGHT, TOP = 860, 190, 60, 80
BAR, GAP = 13, 12
# A longer bar ends here, or it would make all others short; its number says how long it is.
LONGEST = 4.0
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .value { font-size: 11px; }
  .grid { stroke: #d0d7de; }
  .one { stroke: #24292f; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .grid { stroke: #3d444d; } .one { stroke: #e6edf3; }
  }
"""


def groups(results):
    """Title, and (series, ratio) of each bar."""
    for result in results:
        bars = []
        for name, number in {result.case.subject: 0, **RIVALS}.items():
            ratio = result.ratio(name, "cpu_us")
            if ratio is not None:
                bars.append((number, ratio))
        if bars and bars[0][0] == 0:
            yield result.case.title, bars


def svg(results):
    found = list(groups(results))
    longest = min(max([ratio for _, bars in found for _, ratio in bars] + [1.5]), LONGEST)
    scale = (WIDTH - LEFT - RIGHT) / longest
    parts, at = [], TOP
    for title, bars in found:
        middle = at + len(bars) * BAR / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(title)}</text>')
        for number, ratio in bars:
            name, colour = SERIES[number]
            width = min(ratio, longest) * scale
            parts.append(
                f'<rect x="{LEFT}" y="{at}" width="{width:.1f}" height="{BAR - 2}" rx="2" fill="{colour}">'
                f"<title>{escape(title)}, {escape(name)}: {ratio:.2f}</title></rect>"
                f'<text class="value" x="{LEFT + width + 5:.1f}" y="{at + BAR - 3}">{ratio:.2f}</text>'
            )
            at += BAR
        at += GAP
    return "\n".join([*frame(at + 10, scale, longest, results), *parts, "</svg>"]) + "\n"


def frame(height, scale, longest, results):
    """All but the bars: they are drawn above it."""
    reference = {"nginx": "nginx proxy_cache", "nginx-tuned": "nginx proxy_cache with open_file_cache"}
    to = reference[results[0].reference] if results else ""
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
    yield f"<title>CPU time of the server for one answer, {to} = 1; less is better</title>"
    yield f"<style>{STYLE}</style>"
    yield f'<text class="title" x="10" y="22">CPU time of the server for one answer, {to} = 1; less is better</text>'
    x = LEFT
    for name, colour in SERIES:
        yield f'<rect x="{x}" y="36" width="11" height="11" rx="2" fill="{colour}"/><text x="{x + 16}" y="46">{escape(name)}</text>'
        x += 40 + 7 * len(name)
    for half in range(int(longest * 2) + 1):
        x = LEFT + half / 2 * scale
        kind = "one" if half == 2 else "grid"
        yield f'<text class="value" x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">{half / 2:g}</text>'
        yield f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 10}"/>'
