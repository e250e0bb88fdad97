"""Run the fuzz targets, all at the same time, for as long as is said; a finding is shown and ends it with 1."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import subprocess
import sys
import threading
import traceback
from pathlib import Path

from fuzz.driver import CORPUS, MAX_SIZE, run_for

TARGETS = ("frames", "handshake")
BUILD = Path("build", "fuzz")
_LONGEST = 10  # seconds for one input


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{' or '.join(TARGETS)}; all, unless said")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; 60, unless said")
    parser.add_argument(
        "--keep", action="store_true", help="put inputs that reach new code into the corpus of the source"
    )
    parser.add_argument("--input", type=Path, help="give one target this file only, as after a finding")
    parser.add_argument("--plain", action="store_true", help="go by chance, as where atheris is not installed")
    options = parser.parse_args()
    names = options.targets or TARGETS
    for name in names:
        if name not in TARGETS:
            parser.error(f"there is no target {name}")
    if options.input is not None:
        for name in names:
            importlib.import_module(f"fuzz.fuzz_{name}").check(options.input.read_bytes())
        return 0
    is_guided = not options.plain and importlib.util.find_spec("atheris") is not None
    if not is_guided and not options.plain:
        say(
            "!!! NOT GUIDED BY COVERAGE: atheris is not installed (it has packages for Linux on x86-64 with CPython "
            "3.11 to 3.14). Inputs are made by chance, which finds much less."
        )
    campaigns = [Guided(name, options.seconds) if is_guided else ByChance(name, options.seconds) for name in names]
    threads = [threading.Thread(target=campaign.run) for campaign in campaigns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for campaign in campaigns:
        if options.keep and isinstance(campaign, Guided):
            campaign.keep()
    return int(sum(campaign.show() for campaign in campaigns) > 0)


def say(text: str) -> None:
    """Print a line at once, as CI shows it while it runs."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class ByChance:
    """Mutations of the corpus, without any help."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self.count = 0
        self.finding = ""

    def run(self) -> None:
        target = importlib.import_module(f"fuzz.fuzz_{self.name}").check
        try:
            self.count = run_for(target, self.name, self.seconds, seed=random.randrange(2**32))
        except Exception:
            self.finding = traceback.format_exc()

    def show(self) -> bool:
        say(f"{self.name}: {self.finding or f'{self.count:,} inputs by chance, no finding'}")
        return bool(self.finding)


class Guided:
    """A process with atheris. What it finds worth keeping stays in ``build/fuzz``, and the next one begins with it."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self.found = BUILD / "corpus" / name
        self.findings = BUILD / "findings" / name
        self.before: set[Path] = set()
        self.code = 0
        self.output = ""

    def run(self) -> None:
        for folder in (self.found, self.findings):
            folder.mkdir(parents=True, exist_ok=True)
        self.before = set(self.findings.iterdir())
        ended = self._start(
            f"-max_total_time={max(1, round(self.seconds))}",
            f"-max_len={MAX_SIZE}",
            f"-timeout={_LONGEST}",
            "-rss_limit_mb=1024",
            f"-artifact_prefix={self.findings}/",
            "-print_final_stats=1",
            str(self.found),
            str(CORPUS / self.name),
        )
        self.code, self.output = ended.returncode, ended.stdout

    def keep(self) -> None:
        """Put into the corpus of the source what reaches code that nothing in there does."""
        self._start("-merge=1", str(CORPUS / self.name), str(self.found))

    def _start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fuzz.guided", self.name, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )

    def show(self) -> bool:
        if self.code == 0:
            count = next(
                (line.split()[-1] for line in self.output.splitlines() if "number_of_executed_units" in line), "?"
            )
            say(f"{self.name}: {count} inputs guided by coverage, no finding; {len(list(self.found.iterdir()))} kept")
            return False
        say(f"{self.name}: FOUND (exit code {self.code})\n" + "\n".join(self.output.splitlines()[-60:]))
        for file in sorted(set(self.findings.iterdir()) - self.before):
            say(f"{self.name}: the input is {file.read_bytes()!r}")
            say(f"{self.name}: once more: {sys.executable} -m fuzz {self.name} --input {file}")
        return True


if __name__ == "__main__":
    sys.exit(main())
