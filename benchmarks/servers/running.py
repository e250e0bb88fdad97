"""Run a server the way the daemon does: its event loop, its settings of memory and garbage collector."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import xmlsocket
from xmlsocket.net.process import new_event_loop, settle_process, tune_process


async def _serve(handler: Any, encoding: str | None) -> None:
    port, *policy = sys.argv[1:]
    async with xmlsocket.serve(
        handler, "127.0.0.1", int(port), policy=Path(policy[0]) if policy else None, encoding=encoding
    ) as server:
        settle_process()
        print("ready", flush=True)
        await server.serve_forever()


def run(handler: Any, encoding: str | None = "utf-8") -> None:
    """Serve on the port, and with the policy file, that the command line names, until the process is ended."""
    tune_process()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(handler, encoding))
