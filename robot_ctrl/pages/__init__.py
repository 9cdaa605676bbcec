"""Pages for a browser: each is one file with nothing to install, in the look of ``base.html``."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plot:
    """A figure as SVG, and what a newcomer should see in it."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Number:
    """A headline number: its name, its value, a remark in small print, and whether it is "good" or "bad"."""

    name: str
    value: str
    remark: str = ""
    tone: str = ""


def write_page(path: Path, template: str, **values: object) -> None:
    """Fill a template of this package and write the page in one step: a reader never sees half of it.

    Args:
        path: the page.
        template: its file name, such as report.html.
        values: what the template shows; text is escaped.
    """
    import jinja2

    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("robot_ctrl", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(pages.get_template(template).render(values), "utf-8")
    os.replace(temporary, path)
