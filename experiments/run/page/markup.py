"""HTML in which every text is escaped, and the frame of a page: one file, light and dark, readable on a phone.

    markup.element("p", "a < b", {"class": "note"})      # <p class="note">a &lt; b</p>

A text that is no `Html` is escaped wherever it goes, so that a person or a folder may be called anything.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

VOID = ("br", "img", "meta")


class Html(str):
    """A text that is markup already."""


def escaped(content: Any) -> Html:
    """Markup as it is; numbers and texts escaped; several of them one after the other."""
    if isinstance(content, Html):
        return content
    if content is None:
        return Html("")
    if isinstance(content, Iterable) and not isinstance(content, str):
        return Html("".join(escaped(part) for part in content))
    return Html(html.escape(str(content)))


def element(name: str, content: Any = None, attributes: Mapping[str, Any] | None = None) -> Html:
    """One element; attributes that are None are left out."""
    given = "".join(f' {k}="{html.escape(str(v))}"' for k, v in (attributes or {}).items() if v is not None)
    return Html(f"<{name}{given}>" + ("" if name in VOID else f"{escaped(content)}</{name}>"))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, texts: int = 1, caption: str = "") -> Html:
    """A table that scrolls sideways where it is wider than the page.

    Args:
      head: of the columns.
      rows: their cells.
      texts: how many of the first columns are texts; the others are numbers, set to the right.
      caption: above it.
    """

    def line(cells: Sequence[Any], kind: str) -> Html:
        sides = [None if i < texts else {"class": "number"} for i in range(len(cells))]
        return element("tr", [element(kind, cell, side) for cell, side in zip(cells, sides, strict=True)])

    body = [element("thead", line(head, "th")), element("tbody", [line(row, "td") for row in rows])]
    above = element("p", caption, {"class": "soft"}) if caption else ""
    return Html(above + element("div", element("table", body), {"class": "wide"}))


def facts(pairs: Iterable[tuple[Any, Any]]) -> Html:
    """Terms and what is said of them; those of which nothing is said are left out."""
    given = [(term, said) for term, said in pairs if said not in (None, "", [], ())]
    return element("dl", [[element("dt", term), element("dd", said)] for term, said in given])


def section(title: str, content: Any, *, closed: bool = False) -> Html:
    """A part of the page under a heading; one that is closed opens by a touch."""
    if not [part for part in (content if isinstance(content, list) else [content]) if part]:
        return Html("")
    if closed:
        return element("section", element("details", [element("summary", element("h2", title)), escaped(content)]))
    return element("section", [element("h2", title), escaped(content)])


def note(text: Any, kind: str = "note") -> Html:
    """A paragraph that is set apart: note, warn or good."""
    return element("p", text, {"class": kind})


def page(title: str, under: str, sections: Sequence[Any]) -> str:
    """The whole file."""
    head = [
        element("meta", None, {"charset": "utf-8"}),
        element("meta", None, {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", None, {"name": "color-scheme", "content": "light dark"}),
        element("meta", None, {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        element("title", title),
        element("style", Html(STYLE)),
    ]
    body = element("body", element("main", [element("h1", title), element("p", under, {"class": "under"}), sections]))
    return "<!DOCTYPE html>\n" + element("html", [element("head", head), body], {"lang": "en"}) + "\n"


POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser lets the page do: show itself."""
STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --page: #ffffff; --card: #f5f7f9; --warn: #9a3b00;
  --good: #0b6b43; --c0: #0072b2; --c1: #b87400; --c2: #007a5a; --c3: #c4500a; --c4: #2f8fc4; --c5: #a8538a;
  --c6: #857400; --c7: #444444; --heat: 0, 114, 178; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af; --line: #363d46; --page: #14171a;
  --card: #1d2126; --warn: #ff9f66; --good: #5fd39e; --c0: #56b4e9; --c1: #e69f00; --c2: #2fc79b; --c3: #ff8a4c;
  --c4: #8fd0f5; --c5: #e29ac8; --c6: #f0e442; --c7: #c9ced4; --heat: 70, 150, 215; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 1.2rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.4rem 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0; }
h3 { font-size: 1rem; margin: 1rem 0 0.3rem; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); margin-top: 1.6rem; padding-top: 1rem; }
summary { cursor: pointer; } summary h2, summary h3 { display: inline; }
p { margin: 0.5rem 0; overflow-wrap: anywhere; } .under, .soft { color: var(--soft); }
.note, .warn, .good { background: var(--card); border-left: 4px solid var(--soft); padding: 0.5rem 0.8rem; }
.warn { border-color: var(--warn); } .good { border-color: var(--good); }
.wide { overflow-x: auto; margin: 0.6rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.25rem 0.6rem 0.25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } td:first-child { min-width: 7.5rem; }
th { font-weight: 600; } thead th { vertical-align: bottom; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; } td.number, th.number { text-align: right; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: 0.2rem 1rem; margin: 0.5rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--card); padding: 0.6rem; overflow-x: auto; white-space: pre-wrap; }
.gains { color: var(--good); font-weight: 600; } .loses { color: var(--warn); font-weight: 600; }
.gains, .loses, .plain { white-space: nowrap; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; } .row > * { min-width: 0; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.2rem, 1fr)); gap: 0.8rem; }
figure { margin: 0; } figcaption { font-size: 0.78rem; line-height: 1.3; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; } .faces img { width: 7rem; background: var(--card); }
.grids img { background: #fff; border-radius: 4px; } .grids figure { margin: 0.8rem 0; }
.matrix td, .matrix th { border: 1px solid var(--page); padding: 0.2rem;
  font-size: 0.78rem; } .matrix td { min-width: 3.4rem; height: 2.4rem; text-align: center; line-height: 1.2;
  vertical-align: middle; white-space: nowrap; } .matrix td .soft { color: var(--ink); opacity: 0.75; }
.matrix th.side { text-align: right; white-space: nowrap; vertical-align: middle; }
.matrix th.top { font-weight: 400; text-align: center; vertical-align: bottom; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg .soft { fill: var(--soft); } svg .axis { stroke: var(--line); stroke-width: 1; }
svg .zero { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 3; }
"""
