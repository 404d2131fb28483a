"""The HTML templates of the pages, and how they write numbers."""

from __future__ import annotations

from typing import Any

from metamodal.reporting.pictures.words import breakable

__all__ = ["number", "percent", "template"]


def template(name: str) -> Any:
    """The template of a page, by the name of its file."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("metamodal", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "gained": _gained, "amount": _amount, "count": number}
    environment.filters |= {"breakable": breakable}
    return environment.get_template(name)


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, without the sign."""
    return f"{100 * share:.{digits}f}"


def number(count: int) -> str:
    """A whole number, its thousands apart."""
    return f"{count:,}".replace(",", "\u202f")


def _gained(share: float) -> str:
    return f"{100 * share:+.2f}"


def _amount(value: float) -> str:
    """A number in three figures, or whole."""
    return number(round(value)) if value >= 100 or value == round(value) else f"{value:.3g}"
