"""Pages that need no network: templates, and plots in them."""

import html
import io
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fill(template: str, **values: Any) -> str:
    """A page from one of the package's templates; values are escaped."""
    return Environment(loader=PackageLoader("instax3d.report"), autoescape=True).get_template(template).render(**values)


def as_svg(canvas: "Figure", label: str) -> str:
    """A matplotlib figure as an SVG element; screen readers read out ``label``."""
    data = io.StringIO()
    canvas.savefig(data, format="svg", metadata={"Date": None})
    svg = data.getvalue()
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
