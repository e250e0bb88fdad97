from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmlsocket import BrokerUnavailableError, HistoryError, HistoryLimits
from xmlsocket.rooms import History, HistoryBroker, KeptMessage, Rooms
from xmlsocket.rooms.history import ExportedMessage, NewMessage


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def say(history: History, room: str, *texts: str) -> list[KeptMessage]:
    return history.append([NewMessage(room, "ana", text) for text in texts])


def texts(messages: list[KeptMessage]) -> list[str]:
    return [message.text for message in messages]


class Ears:
    """A member that remembers what it was told."""

    def __init__(self, number: int = 1) -> None:
        self.id = number
        self.heard: list[object] = []

    def deliver(self, batch) -> None:
        batch.seal()  # as a connection does that has written it
        self.heard.append(batch)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "history.db"


def test_what_was_kept_is_there_after_a_restart_and_numbers_go_on(path):
    with History(path) as history:
        assert [message.id for message in say(history, "lobby", "one", "two")] == [1, 2]
        assert [message.id for message in say(history, "other", "x")] == [1]
    with History(path) as history:
        assert texts(history.find("lobby", None, 50)) == ["one", "two"]
        assert [message.id for message in say(history, "lobby", "three")] == [3]
        assert texts(history.find("lobby", 1, 1)) == ["two"]
        assert texts(history.find("lobby", None, 2)) == ["two", "three"]
        assert history.find("nowhere", None, 5) == []


@settings(max_examples=25, deadline=None)
@given(
    says=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.text(st.characters(codec="utf-8"), max_size=8)), max_size=5),
        max_size=8,
    ),
    after=st.one_of(st.none(), st.integers(-2, 20)),
    limit=st.integers(1, 6),
)
def test_the_file_agrees_with_a_list_for_each_room(tmp_path_factory, says, after, limit):
    model: dict[str, list[str]] = {}
    with History(tmp_path_factory.mktemp("model") / "history.db") as history:
        for group in says:
            if group:
                history.append([NewMessage(room, "", text) for room, text in group])
            for room, text in group:
                model.setdefault(room, []).append(text)
        for room, said in model.items():
            expected = said[-limit:] if after is None else said[max(0, after) :][:limit]
            assert texts(history.find(room, after, limit)) == expected


@pytest.mark.parametrize(("said", "left"), [(10, 10), (11, 11), (12, 10)])
def test_a_room_keeps_its_latest_messages_and_answers_with_no_more(path, said, left):
    with History(path, HistoryLimits(max_kept_messages=10)) as history:
        for number in range(1, said + 1):
            say(history, "lobby", str(number))
            history.prune()
        assert texts(history.find("lobby", 0, 100)) == [str(number) for number in range(said - 9, said + 1)]
        assert history._db.execute("SELECT count(*) FROM messages").fetchone()[0] == left


def test_what_is_too_old_is_forgotten_and_its_numbers_do_not_come_back(path):
    clock = Clock()
    with History(path, HistoryLimits(max_kept_age=100.0), clock) as history:
        say(history, "lobby", "old", "older")
        clock.now += 101
        say(history, "lobby", "new")
        history.prune()
        assert [(message.id, message.text) for message in history.find("lobby", 0, 9)] == [(3, "new")]
        clock.now += 101
        history.prune()
        assert history.find("lobby", 0, 9) == []
    with History(path) as history:
        assert say(history, "lobby", "again")[0].id == 4


def test_a_file_that_grows_too_large_forgets_its_oldest_and_shrinks(path):
    clock = Clock()
    limits = HistoryLimits(max_history_file_size=400_000, max_kept_messages=None)
    with History(path, limits, clock) as history:
        for number in range(100):
            clock.now += 1
            say(history, f"room {number % 7}", "x" * 10_000)
        before = history._size()
        for _ in range(30):
            clock.now += 61
            history.prune()
        assert before > 1_000_000 > 440_000 > history._size()
        assert history.find("room 1", None, 1)[0].id > 1


def test_the_log_beside_the_file_stays_small_however_much_is_said(path):
    with History(path) as history:
        for number in range(1000):
            say(history, "lobby", f"{number}" * 200)
            history.prune()
        assert path.with_name(path.name + "-wal").stat().st_size < 10 * 2**20


def test_a_clock_that_jumps_back_neither_loses_nor_reorders(path):
    clock = Clock()
    with History(path, HistoryLimits(max_kept_age=3600.0), clock) as history:
        say(history, "lobby", "first")
        clock.now -= 7200
        say(history, "lobby", "second")
        history.prune()
        assert texts(history.find("lobby", 0, 9)) == ["first", "second"]


def test_more_rooms_than_are_remembered_keep_their_numbers(path, monkeypatch):
    monkeypatch.setattr("xmlsocket.rooms.history._MAX_ROOMS", 3)
    with History(path, HistoryLimits(max_kept_messages=2)) as history:
        for turn in range(1, 5):
            for room in "abcdefgh":
                assert [message.id for message in say(history, room, f"{room}{turn}")] == [turn]
                history.prune()
        assert len(history._rooms) <= 3
        assert [texts(history.find(room, 0, 9)) for room in "ah"] == [["a3", "a4"], ["h3", "h4"]]


def test_half_a_surrogate_pair_is_kept_as_it_is_sent(path):
    with History(path) as history:
        assert [message.id for message in say(history, "lobby", "one", "a\ud800b", "\ud83d\ude00")] == [1, 2, 3]
        assert texts(history.find("lobby", None, 9)) == ["one", "a\ufffdb", "😀"]
        say(history, "\udfff", "x")
        assert texts(history.find("\udfff", None, 9)) == ["x"]


@pytest.mark.parametrize(
    ("after", "limit", "found"),
    [
        (2**80, 5, []),
        (-(2**80), 5, ["one", "two"]),
        (0, 2**80, ["one", "two"]),
        (None, 2**80, ["one", "two"]),
        (None, 0, []),
        (0, -1, []),
        (None, -5, []),
    ],
)
def test_history_is_asked_for_with_any_number(path, after, limit, found):
    with History(path) as history:
        say(history, "lobby", "one", "two")
        assert texts(history.find("lobby", after, limit)) == found


def test_a_second_process_is_told_that_the_file_is_in_use(path):
    with History(path), pytest.raises(HistoryError, match=r"in use by another process.*--data-dir"):
        History(path)
    History(path).close()


def test_a_reader_works_beside_the_writer(path):
    with History(path) as history:
        say(history, "lobby", "hello")
        with History(path, read_only=True) as reader:
            assert [exported.message.text for exported in reader.export()] == ["hello"]


def test_a_damaged_file_is_named_and_left_alone(path):
    with History(path) as history:
        say(history, "lobby", *["x" * 500] * 200)
    damaged = bytearray(path.read_bytes())
    damaged[8192:40960] = os.urandom(40960 - 8192)
    path.write_bytes(damaged)
    with pytest.raises(HistoryError, match=r"history\.db .*(damaged|cannot be used)"):
        History(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("content", [b"this is no database at all, but long enough to look like one " * 20, b"SQLite"])
def test_a_file_that_is_no_database_is_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(HistoryError, match="cannot be used"):
        History(path)
    assert path.read_bytes() == content


def test_a_file_that_is_refused_is_closed(path, monkeypatch):
    opened = []
    connect = sqlite3.connect

    def remember(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", remember)
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all, but long enough to look like one " * 20)
    with pytest.raises(HistoryError, match="cannot be used"):
        History(path)
    assert len(opened) == 2
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_database_of_another_program_is_refused(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(HistoryError, match="another program"):
        History(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match=r"file/history\.db cannot be opened"):
        History(tmp_path / "file" / "history.db")


def test_what_is_exported_can_be_loaded_elsewhere_once(path, tmp_path):
    with History(path) as history:
        say(history, "lobby", "one", "two")
        say(history, "ä b", "<x/>")
        exported = list(history.export())
        only = list(history.export("lobby"))
    assert [message.room for message in only] == ["lobby", "lobby"]
    with History(tmp_path / "other.db") as other:
        assert other.load(exported) == 3
        assert other.load(exported) == 0
        assert list(other.export()) == exported
        assert say(other, "lobby", "three")[0].id == 3
        clash = ExportedMessage("lobby", KeptMessage(1, 0.0, "eve", "forged"))
        fresh = ExportedMessage("new", KeptMessage(1, 0.0, "eve", "fresh"))
        with pytest.raises(HistoryError, match="different message 1"):
            other.load([fresh, clash])
        assert other.find("new", None, 5) == []


def test_check_finds_nothing_in_a_sound_file_and_a_room_that_miscounts(path):
    with History(path) as history:
        say(history, "lobby", "one", "two")
        assert history.check() == []
        history._db.execute("UPDATE rooms SET last_id = 1")
        assert history.check() == ["room 'lobby' counts to 1 but has a message 2"]


# Behind a broker


def run(scene, path, limits=None):
    async def play():
        broker = HistoryBroker(lambda: History(path, limits))
        rooms = Rooms(broker)
        await rooms.start()
        try:
            async with asyncio.timeout(30):
                await scene(rooms, broker)
        finally:
            await rooms.close()

    asyncio.run(play())


def test_many_messages_go_with_few_commits(path):
    async def scene(rooms, broker):
        room = rooms.join("lobby", Ears()).room
        commits = 0
        append = broker._history.append

        def count(messages):
            nonlocal commits
            commits += 1
            time.sleep(0.02)  # a slow disk
            return append(messages)

        broker._history.append = count
        kept = await asyncio.gather(*(room.keep(str(number)) for number in range(500)))
        assert [message.id for message in kept] == list(range(1, 501))
        assert commits <= 5

    run(scene, path)


def test_before_the_start_and_after_the_end_nothing_is_kept_and_that_is_told(path):
    async def play():
        rooms = Rooms(HistoryBroker(lambda: History(path)))
        room = rooms.join("lobby", Ears()).room
        for _ in range(2):
            for asked in (room.keep("hi"), room.history()):
                with pytest.raises(BrokerUnavailableError, match="not open"):
                    await asked
            await rooms.start()
            await rooms.close()

    asyncio.run(play())


def test_whatever_cannot_be_kept_or_found_is_told_and_the_next_goes_on(path):
    async def scene(rooms, broker):
        room = rooms.join("lobby", Ears()).room
        assert (await asyncio.wait_for(room.keep("a\ud800b"), 5)).text == "a\ufffdb"
        with pytest.raises(BrokerUnavailableError, match="no history now"):
            await asyncio.wait_for(broker._call(lambda: 1 / 0), 5)
        assert (await asyncio.wait_for(room.keep("fine"), 5)).id == 2

    run(scene, path)


def test_a_fault_in_what_an_application_writes_takes_nothing_from_the_messages_after_it(path, caplog):
    async def scene(rooms, broker):
        def render(name, message):
            if message.text == "bad":
                raise ValueError("no form for this")
            return message.text

        rooms._render_kept = render
        ears = Ears()
        room = rooms.join("lobby", ears).room
        kept = await asyncio.wait_for(asyncio.gather(*(room.keep(text) for text in ("bad", "good"))), 5)
        assert [message.id for message in kept] == [1, 2]
        assert len(ears.heard) == 1
        assert (await asyncio.wait_for(room.keep("again"), 5)).id == 3

    run(scene, path)
    assert "could not be handed on" in caplog.text


def test_nobody_sees_a_message_before_it_is_on_the_disk(path):
    async def scene(rooms, broker):
        ears = Ears()
        room = rooms.join("lobby", ears).room
        seen_at_commit = []
        append = broker._history.append

        def look(messages):
            kept = append(messages)
            seen_at_commit.append(len(ears.heard))
            return kept

        broker._history.append = look
        for number in range(3):
            await room.keep(str(number))
        assert seen_at_commit == [0, 1, 2]

    run(scene, path)


def test_a_full_disk_refuses_messages_and_recovers(path, caplog):
    async def scene(rooms, broker):
        room = rooms.join("lobby", Ears()).room
        await room.keep("before")
        pages = broker._history._db.execute("PRAGMA page_count").fetchone()[0]
        broker._history._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(BrokerUnavailableError, match="full"):
            await asyncio.gather(*(room.keep("x" * 20_000) for _ in range(50)))
        assert broker.is_failing
        broker._history._db.execute("PRAGMA max_page_count = 100000")
        last = (await room.history(None, 1))[0].id
        message = await room.keep("after")
        assert message.id == last + 1
        assert not broker.is_failing

    run(scene, path)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_disk_that_is_too_slow_refuses_rather_than_grows(path):
    async def scene(rooms, broker):
        room = rooms.join("lobby", Ears()).room
        results = await asyncio.gather(*(room.keep("x") for _ in range(12)), return_exceptions=True)
        assert [type(result) for result in results] == [KeptMessage] * 10 + [BrokerUnavailableError] * 2
        assert (await room.keep("y")).id == 11

    run(scene, path, HistoryLimits(max_pending_messages=10))


def test_closing_keeps_what_was_said_before(path):
    async def scene(rooms, broker):
        room = rooms.join("lobby", Ears()).room
        for number in range(100):
            room.keep(str(number))  # nobody waits

    run(scene, path)
    with History(path) as history:
        assert texts(history.find("lobby", 0, 500)) == [str(number) for number in range(100)]


def test_after_kill_9_everything_that_anybody_saw_is_there(path):
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from xmlsocket.rooms import History, HistoryBroker, Rooms
        async def main():
            rooms = Rooms(HistoryBroker(lambda: History(Path(sys.argv[1]))))
            await rooms.start()
            class Ears:
                id = 1
                def deliver(self, batch): pass
            room = rooms.join("lobby", Ears()).room
            while True:
                for message in await asyncio.gather(*(room.keep("m") for _ in range(7))):
                    print(message.id, flush=True)
        asyncio.run(main())
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    seen += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    assert seen == list(range(1, len(seen) + 1))
    with History(path) as history:
        kept = [message.id for message in history.find("lobby", 0, 10**6)]
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) >= len(seen)


def test_a_file_size_limit_of_the_system_refuses_and_the_process_lives(path):
    program = textwrap.dedent(
        """
        import asyncio, resource, signal, sys
        from pathlib import Path
        from xmlsocket import BrokerUnavailableError
        from xmlsocket.rooms import History, HistoryBroker, Rooms
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        async def main():
            rooms = Rooms(HistoryBroker(lambda: History(Path(sys.argv[1]))))
            await rooms.start()
            class Ears:
                id = 1
                def deliver(self, batch): pass
            room = rooms.join("lobby", Ears()).room
            await room.keep("before")
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            refused = 0
            for _ in range(30):
                try:
                    await room.keep("x" * 10_000)
                except BrokerUnavailableError:
                    refused += 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            message = await room.keep("after")
            print(refused > 0, message.id + refused == 32)
            await rooms.close()
        asyncio.run(main())
        """
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=50)
    assert done.stdout.split() == ["True", "True"], done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
