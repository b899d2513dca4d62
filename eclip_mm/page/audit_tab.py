"""The tab that shows the report of an audit. Needs Gradio (extra ``app``)."""

import re
from html import escape

from eclip_mm.page.parts import gr

#: put first into the report: its links to its own parts stay in it, and it asks for nothing
_FIRST = (
    '<base href="about:srcdoc">'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
)
_HEAD = re.compile(r'<head(\s[^>]*)?>', re.IGNORECASE)


def framed_report(report: str) -> str:
    """A frame in which a self-contained HTML document is shown as it is.

    Its scripts run, apart from those of the page, and nothing in it can be loaded from elsewhere.
    """
    found = _HEAD.search(report)
    end = found.end() if found else 0
    inner = report[:end] + _FIRST + report[end:] if found else f'<head>{_FIRST}</head>{report}'
    return (
        f'<iframe title="Report of the audit" sandbox="allow-scripts" srcdoc="{escape(inner)}" '
        'style="width: 100%; height: 80vh; border: 0"></iframe>'
    )


def add_audit_tab(report: str) -> None:
    """Show a report.

    Args:
        report: HTML that needs no other file.
    """
    gr.HTML(framed_report(report), elem_id='audit')
