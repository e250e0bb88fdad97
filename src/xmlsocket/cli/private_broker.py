"""The NATS server that the workers of one daemon share: a child process on loopback that nobody else can use.

Its configuration, with a secret made at each start, is a file that only this user can read. It ends with the daemon,
whatever ends that, and is started again with the same address, secret and store if it ends before.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from ..errors import BrokerError, ConfigurationError
from ..limits import WorkerLimits
from . import bound_to_parent
from .backoff import Backoff
from .worker_process import describe_end, watch_process

logger = logging.getLogger("xmlsocket.broker")

_USER: Final = "worker"
_TEMPORARY: Final = "xmlsocket-nats-"
_PORTS: Final = range(10_000, 32_768)
"""Below those that Linux gives to outgoing connections: the port stays free while the server is started again."""
_SYNCING_VERSION: Final = (2, 10)
"""From it on the server can be told to bring each message to the disk before it says that it is kept."""
_STORE_BOUND: Final = 1 << 50
"""Bytes for all streams together: each has a bound of its own, and the disk another."""
_MEMORY_BOUND: Final = 256 * 1024 * 1024
_LARGEST_PAYLOAD: Final = 8 * 1024 * 1024
_LOG_SIZE: Final = 1_000_000
_LOOK_INTERVAL: Final = 0.05
_STOP_TIMEOUT: Final = 10.0
_LOCK_TIMEOUT: Final = 3.0
"""Seconds for the server of a daemon that has just been killed to end and let go of the folder."""


def find_server() -> str | None:
    """Find the NATS server: the one that was installed beside Python, or else one on the PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "nats-server")
    return beside if os.access(beside, os.X_OK) else shutil.which("nats-server")


class PrivateBroker:
    """The server, as the supervising process sees it.

    Attributes:
        is_running: Whether it served when it was last heard of.
        restarts: How many times it had to be started again.

    Args:
        folder: Where it keeps things; ``None`` for a folder that is removed at the end.
        limits: How often to try, and how long to wait.

    Raises:
        ConfigurationError: There is no server on this machine.
    """

    def __init__(self, folder: Path | None, limits: WorkerLimits) -> None:
        program = find_server()
        if program is None:
            raise ConfigurationError(
                "several workers share their rooms through a NATS server, and there is none on this machine: "
                'pip install "xmlsocket[daemon]" (or apt install nats-server), or name one with --broker nats://HOST'
            )
        self._program = program
        self._folder = folder
        self._limits = limits
        self._is_temporary = folder is None
        self._secret = secrets.token_urlsafe(32)
        self._name = f"xmlsocket-{secrets.token_hex(4)}"
        self._version: tuple[int, ...] = ()
        self._port = 0
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[int] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._backoff = Backoff(limits)
        self._log_begins = 0
        self.is_running = False
        self.restarts = 0

    @property
    def url(self) -> str:
        """Its address, with the secret."""
        return f"nats://{_USER}:{self._secret}@127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The number of its process."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it serves; from then on it is started again whenever it ends.

        Raises:
            BrokerError: It does not start, or another daemon uses the folder.
        """
        version = self._version = self._find_version()
        try:
            folder = self._folder = self._make_folder()
            self._lock = await self._take(folder)
            self._port = _find_free_port()
            self._write_configuration(folder)
        except OSError as error:
            raise BrokerError(f"cannot use {self._folder} for the workers' NATS server: {error.strerror}") from error
        if version < _SYNCING_VERSION:
            logger.warning(
                "nats-server %s brings messages to the disk every two minutes only; a power cut may lose what people "
                "have seen. Version 2.10 or newer does not",
                ".".join(map(str, version)),
            )
        for _ in range(self._limits.max_worker_starts):
            why = await self._try()
            if why is None:
                self._keeper = asyncio.create_task(self._keep(), name="private broker")
                return
            await self._backoff.wait()
        raise BrokerError(f"the workers' NATS server does not start{why}")

    async def close(self) -> None:
        """Stop it, and remove the folder if it was a temporary one."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None and self._ended is not None and not self._ended.done():
            self._process.terminate()
            try:
                async with asyncio.timeout(_STOP_TIMEOUT):
                    await asyncio.shield(self._ended)
            except TimeoutError:
                self.kill()
                await self._ended
        if self._lock is not None:
            os.close(self._lock)
        if self._folder is not None and self._is_temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End it now. What a temporary folder has is removed by the next daemon that makes one."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _keep(self) -> None:
        while True:
            assert self._ended is not None
            code = await asyncio.shield(self._ended)
            self.is_running = False
            self.restarts += 1
            logger.error("the workers' NATS server %s%s: starting it again", describe_end(code), self._last_words())
            await self._backoff.wait()
            while (why := await self._try()) is not None:
                logger.error("the workers' NATS server does not start%s: trying again", why)
                await self._backoff.wait()
            logger.warning("the workers' NATS server is back")

    async def _try(self) -> str | None:
        """Start it once, and give why that was in vain."""
        try:
            return None if await self._run() else self._last_words()
        except OSError as error:  # no process or descriptor is to be had, or the disk is full
            self._backoff.begin()
            return f" ({error.strerror})"

    async def _run(self) -> bool:
        """Start the process, and wait until it serves or has ended."""
        assert self._folder is not None
        assert self._lock is not None
        configuration = str(self._write_configuration(self._folder))
        # The lock goes with it: as long as it lives, nobody else starts a second one on its store.
        starter = [sys.executable, "-I", "-S", bound_to_parent.__file__, str(os.getpid())]
        self._process = subprocess.Popen(  # noqa: ASYNC220  # it blocks for a millisecond or two
            [*starter, self._program, "-c", configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._lock],
            start_new_session=True,
            cwd="/",
        )
        self._ended = watch_process(self._process)
        self._log_begins = self._log().stat().st_size if self._log().exists() else 0
        self._backoff.begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.worker_start_timeout):
                while not self._ended.done():
                    if await self._answers():
                        self.is_running = True
                        return True
                    await asyncio.sleep(_LOOK_INTERVAL)
        self.kill()
        await self._ended
        return False

    async def _answers(self) -> bool:
        """Whether our server answers there, and takes our secret."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
                try:
                    info = json.loads((await reader.readline()).removeprefix(b"INFO "))
                    hello = {"user": _USER, "pass": self._secret, "verbose": False, "pedantic": False}
                    writer.write(b"CONNECT " + json.dumps(hello).encode() + b"\r\nPING\r\n")
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, ValueError, TimeoutError):
            return False
        return answer.startswith(b"PONG") and bool(info.get("jetstream"))

    def _find_version(self) -> tuple[int, ...]:
        try:
            ran = subprocess.run([self._program, "--version"], capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise BrokerError(f"cannot run {self._program}: {error}") from error
        found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", ran.stdout + ran.stderr)
        if found is None:
            raise BrokerError(f"{self._program} is no NATS server: it says {ran.stdout.strip()!r} of its version")
        return tuple(int(number) for number in found.groups())

    def _make_folder(self) -> Path:
        if self._folder is None:
            _remove_left_over()
            return Path(tempfile.mkdtemp(prefix=_TEMPORARY))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder.resolve()

    async def _take(self, folder: Path) -> int:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(_LOCK_TIMEOUT):
                while True:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return descriptor
                    await asyncio.sleep(_LOOK_INTERVAL)
        except TimeoutError:
            os.close(descriptor)
            raise BrokerError(
                f"another daemon uses {folder}; stop that, or choose another folder with --data-dir"
            ) from None

    def _write_configuration(self, folder: Path) -> Path:
        """Write what the server reads at each start, for systems that remove old files from temporary folders."""
        folder.mkdir(mode=0o700, exist_ok=True)
        store: dict[str, Any] = {
            "store_dir": str(folder),
            "max_memory_store": _MEMORY_BOUND,
            "max_file_store": _STORE_BOUND,
        }
        if self._version >= _SYNCING_VERSION:
            store["sync_interval"] = "always"
        configuration = {
            "server_name": self._name,
            "host": "127.0.0.1",
            "port": self._port,
            "authorization": {"user": _USER, "password": self._secret},
            "jetstream": store,
            "max_payload": _LARGEST_PAYLOAD,
            "log_file": str(self._log()),
            "logfile_size_limit": _LOG_SIZE,
        }
        file = folder / "nats.conf"
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as target:
            json.dump(configuration, target, indent=1, ensure_ascii=False)  # NATS knows no \u
        return file

    def _log(self) -> Path:
        assert self._folder is not None
        return self._folder / "nats.log"

    def _last_words(self) -> str:
        """What its log says of why."""
        if self._folder is None:
            return ""
        try:
            with open(self._log(), "rb") as log:
                log.seek(min(self._log_begins, log.seek(0, os.SEEK_END)))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        found = [line.partition("] ")[2] or line for line in lines if "[FTL]" in line or "[ERR]" in line]
        return f" ({found[-1].strip()}; see {self._log()})" if found else ""


def _remove_left_over() -> None:
    """Remove temporary folders of daemons that were killed: ours, and locked by nobody."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
                continue
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(descriptor)


def _find_free_port() -> int:
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BrokerError("there is no free port on loopback for the workers' NATS server")
