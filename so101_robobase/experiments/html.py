"""Pieces of HTML. Every text that comes from a file is escaped here."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True)
class Cell:
    """Of a table: `kind` is a class of report.css, `heat` a share that its background shows."""

    content: object
    kind: str = ""
    heat: float | None = None


def text(value: object) -> Html:
    """`value` for the inside of an element; None is a dash."""
    if isinstance(value, Html):
        return value
    return Html("–" if value is None or value == "" else html.escape(str(value)))


def element(tag: str, *content: object, **attributes: str | bool | None) -> Html:
    """`class_` and the like lose their underscore; those that are None or False are left out.

    Without content it is one that has no end, as `img`.
    """
    given = "".join(
        f" {name.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{html.escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{tag}{given}>" + (f"{''.join(map(text, content))}</{tag}>" if content else ""))


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """Scrolls sideways where the page is narrow. A cell is a `Cell` or its content."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    kinds = [cell.kind for cell in cells[0]] if cells else []
    head = [
        element("th", title, class_=("text" if kind in ("text", "text long") else None))
        for title, kind in zip(header, kinds or [""] * len(header), strict=True)
    ]
    body = [element("tr", *map(_cell, row)) for row in cells]
    inner = element("thead", element("tr", *head)), element("tbody", *body)
    return element("div", element("table", *inner), class_="scroll")


def _cell(cell: Cell) -> Html:
    style = None
    if cell.heat is not None:
        hue = round(120 * cell.heat)
        style = f"background: hsl({hue} 60% 50% / 0.32)"
    return element("td", cell.content, class_=cell.kind or None, style=style)


def join(parts: Iterable[object]) -> Html:
    return Html("\n".join(map(text, parts)))
