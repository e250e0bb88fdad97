"""The page that a gateway shows to whoever opens its address in a browser."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import Final

from ..apps.pages import about_page
from ..gateway import Targets
from ..net.http import Page, Pages, Request

_CONTENT: Final = """\
<p>This is a gateway to XMLSocket servers. It is running since <time>{since}</time>; clients now: {clients}.</p>
<h2>Where it leads</h2>
<ul>
{targets}
</ul>
<h2>How to connect</h2>
<dl>
<dt>Ruffle and OpenFL</dt>
<dd>WebSocket to <code>ws://{host}/</code> and the path of the target, or <code>wss:</code> over TLS; in Ruffle an entry
of <code>socketProxy</code> says so for the movie</dd>
<dt>Programs and Flash movies</dt>
<dd>XMLSocket to <code>{host}</code>{native}</dd>
</dl>
"""


def gateway_pages(targets: Targets, count_clients: Callable[[], int]) -> Pages:
    """Make the page at ``/``. It shows the names of targets, but no address: those are the operator's affair.

    Args:
        targets: Where clients may go.
        count_clients: How many there are now.
    """
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    names = [target.name for target in targets if target.name is not None]
    lines = [f"<li><code>/{html.escape(name)}</code></li>" for name in names]
    if targets.default is not None:
        lines.insert(0, "<li><code>/</code></li>")
    if hidden := len(targets) - len(names):
        lines.append(f"<li>by host and port, which are not shown: {hidden}</li>")
    native = "" if targets.default is not None else ": leads nowhere here, as no target is the default"

    def find(request: Request) -> Page | None:
        texts = {"since": since, "clients": str(count_clients()), "targets": "\n".join(lines), "native": native}
        content = _CONTENT
        for key, text in texts.items():
            content = content.replace(f"{{{key}}}", text)
        return about_page(request, "gateway", content)

    return find
