"""Ruffle's ``socketProxy`` setting: which WebSocket stands for which host and port of a movie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import ConfigurationError
from .object_literal import NotLiteralError, line_of, read_items, read_properties, read_value, skip_blank, step
from .targets import NamedTarget

_SETTING: Final = "socketProxy"
_ASSIGNMENT: Final = re.compile(r"RufflePlayer\s*(?:\.\s*config|\[\s*(?:'config'|\"config\")\s*\])\s*=(?!=)\s*")
_SCRIPT: Final = re.compile(r"<script\b[^>]*>(.*?)</script\s*>", re.IGNORECASE | re.DOTALL)
_HTML_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)


class ProxyEntry(NamedTuple):
    """One entry of the setting. Ruffle compares host and port exactly, and the first that fits counts."""

    host: str
    port: int
    url: str

    def to_json(self) -> dict[str, Any]:
        """Make what Ruffle reads."""
        return {"host": self.host, "port": self.port, "proxyUrl": self.url}


class Spelling(NamedTuple):
    """How a movie says where to connect.

    Attributes:
        host: Letter for letter.
        port: ``None`` for that of the target.
    """

    host: str
    port: int | None = None


def make_entries(targets: Sequence[NamedTarget], url: str, spellings: Iterable[Spelling] = ()) -> list[ProxyEntry]:
    """Make the entries for a gateway with these targets.

    Args:
        targets: As the gateway has them.
        url: The gateway's address as browsers reach it. Where there are several targets, their paths are added.
        spellings: What movies say in place of the target's host; all for the first target.

    Raises:
        ConfigurationError: The address cannot work, or two entries contradict each other.
    """
    check_url(url)
    entries: dict[tuple[str, int], ProxyEntry] = {}
    for index, target in enumerate(targets):
        is_only = len(targets) == 1 or target.path is None
        address = url if is_only else url.rstrip("/") + quote(target.path or "", safe="/:[]~")
        for host, port in names_in_movies(target, spellings if index == 0 else ()):
            entry = ProxyEntry(host, port, address)
            other = entries.setdefault((host, port), entry)
            if other.url != entry.url:
                raise ConfigurationError(
                    f"{entry.host}:{entry.port} would lead to {other.url} and to {entry.url}; Ruffle takes the first"
                )
    return list(entries.values())


def names_in_movies(target: NamedTarget, spellings: Iterable[Spelling]) -> list[tuple[str, int]]:
    """List host and port as movies say them: those of the target, and then the spellings.

    Raises:
        ConfigurationError: The target is a Unix socket, which no movie can name, and nothing says what movies do say.
    """
    is_unix = target.target.path is not None
    names = [] if is_unix else [(target.target.host, target.target.port)]
    names += [(name.host, name.port or target.target.port) for name in spellings]
    if not names or any(port == 0 for _, port in names):
        raise ConfigurationError(
            f"{target} has no host and no port that a movie could say; --movie-host HOST:PORT says what it does, for "
            "the first target"
        )
    return names


def check_url(url: str) -> None:
    """Refuse an address that browsers cannot open a WebSocket to.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_complete = False
        parts = urlsplit("")
    if parts.scheme not in ("ws", "wss") or not is_complete or parts.fragment or not url.isprintable() or " " in url:
        raise ConfigurationError(
            f"{url!r} is no address of a WebSocket; write ws://HOST:PORT/ or, for pages that are loaded by https, "
            "wss://HOST/"
        )


def render_json(entries: Iterable[ProxyEntry]) -> str:
    """Write the setting as a JSON object."""
    return "{\n  " + json.dumps(_SETTING) + ": " + _render([entry.to_json() for entry in entries], "  ") + "\n}\n"


def render_script(entries: Iterable[ProxyEntry]) -> str:
    """Write the setting as JavaScript, for a page, before Ruffle is loaded."""
    body = render_json(entries).rstrip().replace("</", "<\\/")
    return f"window.RufflePlayer = window.RufflePlayer || {{}};\nwindow.RufflePlayer.config = {body};\n"


def merge(text: str, entries: Iterable[ProxyEntry]) -> str:
    """Put entries into an existing configuration, and leave everything else as it is.

    Entries for the same host and port are replaced, others stay, new ones are added at the end.

    Args:
        text: A JSON object, or JavaScript or HTML that assigns an object literal to ``window.RufflePlayer.config``.
        entries: What to put in.

    Raises:
        ConfigurationError: It is none of these, or cannot be changed without running it; the sentence says what to do.
    """
    entries = list(entries)
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("{"):
        return _merge_json(text, text.index("{"), entries)
    is_html = start.startswith("<")
    at = _find_literal(text, is_html=is_html)
    try:
        return _merge_at(text, at, entries, escape=is_html)
    except NotLiteralError as error:
        raise ConfigurationError(
            f"{_SETTING} cannot be changed, {error}; put this into it by hand:\n{render_json(entries)}"
        ) from None


def _merge_json(text: str, at: int, entries: list[ProxyEntry]) -> str:
    try:
        before = json.loads(text.lstrip("\ufeff"))
    except ValueError as error:
        raise ConfigurationError(f"the configuration is not JSON: {error}") from None
    merged = _merge_at(text, at, entries)
    after = json.loads(merged.lstrip("\ufeff"))
    assert {**before, _SETTING: 0} == {**after, _SETTING: 0}, "another setting was changed"
    return merged


def _merge_at(text: str, at: int, entries: list[ProxyEntry], *, escape: bool = False) -> str:
    properties, end = read_properties(text, at)
    found = [item for item in properties if item.name == _SETTING]
    if len(found) > 1:
        raise ConfigurationError(
            f"{_SETTING} stands there twice, the second time in line {line_of(text, found[1].start)}"
        )
    indent = _indent_of(text, properties[0].start if properties else end, at)
    if found:
        if found[0].value is None:
            raise NotLiteralError(f"line {line_of(text, found[0].start)}: there is code in place of a value")
        existing, stop = read_value(text, found[0].value)
        if skip_blank(text, stop) < found[0].end:
            raise NotLiteralError(f"line {line_of(text, stop)}: there is code in place of a value")
        if not isinstance(existing, list) or not all(isinstance(item, dict) for item in existing):
            raise ConfigurationError(
                f"line {line_of(text, found[0].start)}: {_SETTING} must be a list of objects; mend or remove it first"
            )
        return _join(text, found[0].value, existing, entries, indent, escape=escape)
    value = _render([entry.to_json() for entry in entries], indent)
    head = f"\n{indent}{json.dumps(_SETTING)}: {_escaped(value) if escape else value}"
    if properties:
        return text[: at + 1] + head + "," + _gap(text, at, properties[0].start, indent) + text[at + 1 :].lstrip()
    comments = text[at + 1 : end].strip()
    return text[: at + 1] + head + "\n" + (f"{indent}{comments}\n" if comments else "") + indent[:-2] + text[end:]


def _gap(text: str, at: int, first: int, indent: str) -> str:
    """The white space between the bracket and what follows it, with a line break in any case."""
    blank = text[at + 1 :][: len(text[at + 1 :]) - len(text[at + 1 :].lstrip())]
    return blank if "\n" in blank else "\n" + indent


def _join(
    text: str, at: int, existing: list[dict[str, Any]], entries: list[ProxyEntry], indent: str, *, escape: bool
) -> str:
    """Change the list that begins at ``at``: only the entries that differ, so that the user's comments stay."""
    spans, end = read_items(text, at)
    changes: list[tuple[int, int, str]] = []
    added: list[dict[str, Any]] = []
    for entry in entries:
        new = entry.to_json()
        for item, span in zip(existing, spans, strict=True):  # the first that fits is the one that counts
            if item.get("host") == entry.host and item.get("port") == entry.port:
                if item != {**item, **new}:
                    changes.append((*span, json.dumps({**item, **new}, ensure_ascii=False)))
                break
        else:
            added.append(new)
    if added and not spans and not text[at + 1 : end].strip():
        changes.append((at, end + 1, _render(added, indent)))
    elif added:
        changes.append(_appended(text, (at, end), spans, added, indent))
    for start, stop, value in sorted(changes, reverse=True):
        text = text[:start] + (_escaped(value) if escape else value) + text[stop:]
    return text


def _appended(
    text: str, where: tuple[int, int], spans: list[tuple[int, int]], added: list[dict[str, Any]], indent: str
) -> tuple[int, int, str]:
    """Say what to put where, for items to follow those that are there, and the comments after the last one."""
    start, end = where
    last = spans[-1][1] if spans else start + 1
    has_comma = not spans or text[skip_blank(text, last) :].startswith(",")
    rest = text[last:end].rstrip()
    lines = ",".join(f"\n{indent}  {json.dumps(item, ensure_ascii=False)}" for item in added)
    tail = "," if spans and has_comma else ""
    return last, end, f"{'' if has_comma else ','}{rest}{lines}{tail}\n{indent}"


def _escaped(value: str) -> str:
    return value.replace("</", "<\\/")


def _render(items: list[dict[str, Any]], indent: str) -> str:
    if not items:
        return "[]"
    lines = ",\n".join(f"{indent}  {json.dumps(item, ensure_ascii=False)}" for item in items)
    return f"[\n{lines}\n{indent}]"


def _indent_of(text: str, first: int, at: int) -> str:
    """How far the properties are indented; two blanks more than their object where they share its line."""

    def margin(place: int) -> str:
        line = text[text.rfind("\n", 0, place) + 1 : place]
        return line[: len(line) - len(line.lstrip())]

    return margin(first) if "\n" in text[at:first] and text[first] != "}" else margin(at) + "  "


def _find_literal(text: str, *, is_html: bool) -> int:
    found = [at for start, end in _scripts(text, is_html=is_html) for at in _assignments(text, start, end)]
    if not found:
        raise ConfigurationError(
            "there is no window.RufflePlayer.config = {...} in it, and it is no JSON object; put the script "
            "'window.RufflePlayer = window.RufflePlayer || {}; window.RufflePlayer.config = {};' "
            "before the one that loads Ruffle, and try again"
        )
    if len(found) > 1:
        lines = " and ".join(str(line_of(text, at)) for at in found)
        raise ConfigurationError(f"RufflePlayer.config is assigned in lines {lines}; which one counts, only you know")
    if text[found[0] : found[0] + 1] != "{":
        raise ConfigurationError(
            f"line {line_of(text, found[0])}: RufflePlayer.config is assigned something else than an object literal"
        )
    return found[0]


def _scripts(text: str, *, is_html: bool) -> Iterator[tuple[int, int]]:
    if not is_html:
        yield 0, len(text)
        return
    visible = _HTML_COMMENT.sub(lambda match: " " * len(match[0]), text)
    for match in _SCRIPT.finditer(visible):
        yield match.start(1), match.end(1)


def _assignments(text: str, at: int, end: int) -> Iterator[int]:
    before = ""
    while at < end:
        if match := _ASSIGNMENT.match(text, at):
            yield skip_blank(text, match.end())
        following = step(text, at, before)
        if skip_blank(text, at) == at:
            before = text[following - 1]
        at = following


def read_entries(text: str) -> list[ProxyEntry]:
    """Read the setting from a configuration, of the forms that :func:`merge` takes; none where there is no setting.

    Raises:
        ConfigurationError: It cannot be read without running it.
    """
    start = text.lstrip("\ufeff \t\r\n")
    at = text.index("{") if start.startswith("{") else _find_literal(text, is_html=start.startswith("<"))
    entries = []
    for item in read_properties(text, at)[0]:
        if item.name == _SETTING and item.value is not None:
            value, _ = read_value(text, item.value)
            for each in value if isinstance(value, list) else ():
                if isinstance(each, dict):
                    host, port, url = (each.get(key) for key in ("host", "port", "proxyUrl"))
                    if isinstance(host, str) and isinstance(port, int) and isinstance(url, str):
                        entries.append(ProxyEntry(host, port, url))
    return entries
