"""Run the code of a page of documentation, from its first block to its last, as a reader would.

What a block is for is said in an HTML comment just above it, which readers do not see:

==========================  ======================================================================================
no comment, Python          part of one program that goes through the page; ``await`` is allowed anywhere, ``asyncio``
                            and ``xmlsocket`` are imported
``<!-- hidden CODE -->``    the same, unseen: what the page takes for granted, and assertions
``<!-- program: NAME -->``  saved as NAME and started in a process of its own, which goes on to the end of the page
``<!-- script: NAME -->``   saved as NAME and run to its end
``<!-- file: NAME -->``     saved as NAME, for the commands of the page
``<!-- output -->``         what the last script or program has printed
``<!-- start -->``          shell: the command goes on to the end of the page; its port is open before the next block
``<!-- run -->``            shell: the lines that begin with ``$`` are run; the others are what they print
==========================  ======================================================================================

Shell blocks without a comment are not run. A page says ``localhost:8080``, and so on; each of its ports is replaced by
a free one. In what is printed, ``…`` stands for anything within a line, and on a line of its own for any lines.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xmlsocket

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
DEADLINE = 20.0

_PORT = re.compile(r"(?<![\d.,-])(843|4222|8080|8081|8082|8443|9000|9339)(?!\d|\.\d)")
_BLOCK = re.compile(
    r"(?:^<!-- (?P<role>program|script|file|output|start|run)(?:: (?P<name>\S+))? -->\n+)?"
    r"^(?P<indent> *)```(?P<language>[a-z]+)\n(?P<code>.*?)^(?P=indent)```$"
    r"|^<!-- hidden\n(?P<hidden>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of code on a page: its language, its code, the line where the code begins, and what it is for."""

    language: str
    code: str
    line: int
    role: str = ""
    name: str = ""

    @property
    def commands(self) -> list[str]:
        """The shell commands in it; one that ends in a backslash goes on in the next line."""
        return [line[2:] for line in self.code.replace("\\\n", "").splitlines() if line.startswith("$ ")]


def blocks_of(page: Path) -> Iterator[Block]:
    """Find the blocks of code of a page."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        kind = "hidden" if match["hidden"] is not None else "code"
        line = text.count("\n", 0, match.start(kind)) + 1
        if kind == "hidden":
            yield Block("python", match["hidden"], line, "hidden")
        else:
            indent = match["indent"]
            code = "".join(part.removeprefix(indent) for part in match["code"].splitlines(keepends=True))
            yield Block(match["language"], code, line, match["role"] or "", match["name"] or "")


class PageRun:
    """One reading of a page, in a folder of its own."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.namespace: dict[str, Any] = {"__name__": "page", "asyncio": asyncio, "xmlsocket": xmlsocket}
        self.ports: dict[str, int] = {}
        self.printed = ""
        self._processes = contextlib.AsyncExitStack()

    async def run(self) -> None:
        """Run all blocks; an error says on which line of the page it is."""
        async with self._processes:
            for block in blocks_of(self.page):
                try:
                    async with asyncio.timeout(DEADLINE):
                        await self._run(block)
                except Exception as error:
                    error.add_note(f"in the block at {self.page.relative_to(ROOT)}:{block.line}")
                    raise

    async def _run(self, block: Block) -> None:
        code = self.with_free_ports(block.code)
        if block.role in ("file", "program", "script"):
            (self.folder / block.name).write_text(code, encoding="utf-8")
        if block.language == "console":
            await self._run_console(block, code)
        elif block.role == "output":
            assert_printed(self.printed, code)
        elif block.role == "program":
            await self._start(f"exec {sys.executable} {block.name}")
        elif block.role == "script":
            self.printed = await self._shell(f"exec {sys.executable} {block.name}")
        elif block.language == "python":
            # As many empty lines before it as there are on the page, so that tracebacks show lines of the page.
            source = "\n" * (block.line - 1) + code
            compiled = compile(source, self.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            namespace = {"__name__": Path(block.name).stem} if block.role == "file" else self.namespace
            coroutine = eval(compiled, namespace)
            if coroutine is not None:
                await coroutine

    async def _run_console(self, block: Block, code: str) -> None:
        if block.role == "start":
            for command in block.commands:
                await self._start("exec " + self._daemon(self.with_free_ports(command)))
        elif block.role == "run":
            for part in re.split(r"^\$ ", code.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
                command, _, expected = part.partition("\n")
                self.printed = await self._shell(command)
                assert_printed(self.printed, expected)

    def _daemon(self, command: str) -> str:
        command = command.replace("make serve", "xmlsocket serve")
        if re.match(r"xmlsocket serve\b(?!.* --(port|config)\b)", command):
            command += f" --port {self._port('8080')}"
        return command

    def _port(self, number: str) -> int:
        if number not in self.ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[number] = probe.getsockname()[1]
        return self.ports[number]

    def with_free_ports(self, code: str) -> str:
        """Put free ports in the place of those that the page speaks of."""
        return _PORT.sub(lambda match: str(self._port(match[1])), code)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "XDG_DATA_HOME": str(self.folder / "data"),  # what a daemon keeps must not outlive the page
        }

    async def _shell(self, command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command, cwd=self.folder, env=self._environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        printed, _ = await process.communicate()
        assert process.returncode == 0, f"{command!r} ended with {process.returncode}:\n{printed.decode()}"
        return printed.decode()

    async def _start(self, command: str) -> None:
        files = [file.read_text() for file in self.folder.iterdir() if file.is_file() and file.name in command.split()]
        log = self.folder / f"process-{len(list(self.folder.glob('process-*')))}"
        with log.open("w") as output:
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", command, cwd=self.folder, env=self._environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip
        self._processes.push_async_callback(_end, process)
        ports = [port for port in self.ports.values() if re.search(rf"\b{port}\b", " ".join((command, *files)))]
        for port in ports:
            while not await _is_open(port):
                assert process.returncode is None, f"{command!r} ended:\n{log.read_text()}"
                await asyncio.sleep(0.02)
        self.printed = log.read_text()


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("localhost", port)
    except OSError:
        return False
    writer.close()
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(DEADLINE):
            await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def assert_printed(printed: str, expected: str) -> None:
    """Compare what was printed with what the page says."""
    wanted = expected.strip().splitlines()
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() in ("…", "...") else re.escape(line.rstrip()).replace("…", ".*") + r" *\n"
        for line in wanted
    )
    got = printed.replace("\0", "\n").strip() + "\n"
    assert not wanted or re.fullmatch(pattern, got), f"printed:\n{got}\nbut the page says:\n{expected}"
