"""Kept messages move from a file into NATS and back, with their numbers, times and senders."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster.kept_nodes import node, opened, outcomes
from tests.net.peers import until

from xmlsocket import BrokerError, BrokerUnavailableError, HistoryError, HistoryLimits
from xmlsocket.limits import ClusterLimits
from xmlsocket.rooms import History, KeptMessage, Rooms
from xmlsocket.rooms.cluster import NatsBroker
from xmlsocket.rooms.cluster.kept_envelope import KeptBatch, decode_batch
from xmlsocket.rooms.cluster.session import Session
from xmlsocket.rooms.cluster.transfer import Transfer
from xmlsocket.rooms.history import ExportedMessage

QUICK = ClusterLimits(heartbeat_interval=0.1, store_timeout=1.0)


def transfer(url, prefix):
    return Transfer(Session(url, prefix=prefix, limits=QUICK))


def messages(room, numbers, *, by="ana", text="text"):
    return [ExportedMessage(room, KeptMessage(id, 1_000_000 + id / 7, by, f"{text} {id}")) for id in numbers]


@pytest.fixture
def file(tmp_path):
    with History(tmp_path / "from.db") as history:
        yield history


async def load(url, prefix, history, **options):
    async with transfer(url, prefix) as moved:
        return await moved.load(history, **options)


async def export(url, prefix, room=None):
    async with transfer(url, prefix) as moved:
        return [exported async for exported in moved.export(room)]


def by_room(exported):
    rooms = {}
    for room, message in exported:
        rooms.setdefault(room, []).append(message)
    return rooms


def test_what_a_file_has_is_the_same_in_nats_and_in_another_file(shared_nats, new_prefix, file, tmp_path):
    said = [
        *messages("lobby", range(1, 1202)),
        *messages("a.> *", [3, 4, 9]),  # what was forgotten leaves holes
        *messages("ä 日本", [1], by="", text="\r\n<&>"),
        *messages("long", [1, 2, 3], text="x" * 200_000),
        *messages("x" * 500, [10**15]),
    ]
    file.load(said)
    assert asyncio.run(load(shared_nats.url, new_prefix, file)) == len(said)
    exported = asyncio.run(export(shared_nats.url, new_prefix))
    assert by_room(exported) == by_room(said)
    assert by_room(asyncio.run(export(shared_nats.url, new_prefix, "a.> *"))) == {"a.> *": by_room(said)["a.> *"]}
    with History(tmp_path / "to.db") as back:
        assert back.load(exported) == len(said)
        assert by_room(back.export()) == by_room(file.export())


def test_nodes_find_what_was_imported_and_the_numbers_go_on(shared_nats, new_prefix, file):
    file.load([*messages("lobby", range(5, 2005)), *messages("other", [7])])
    imported = by_room(file.export())["lobby"]

    async def main():
        assert await load(shared_nats.url, new_prefix, file) == 2001
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            assert await one.history("lobby", None, 3) == imported[-3:]
            assert await one.history("lobby", 0, 10) == imported[:10]
            assert await one.history("lobby", 1234, 5) == imported[1230:1235]
            kept = await outcomes([one.keep("lobby", "bob", "new"), one.keep("other", "bob", "new")])
            assert [message.id for message in kept] == [2005, 8]
            assert one.listener.ids() == [2005], "what is old is found, and not shown as if it were said now"

    asyncio.run(main())


def test_history_with_holes_is_found_from_any_number(shared_nats, new_prefix, file):
    random = Random(7)
    numbers = sorted(random.sample(range(1, 5000), 900))
    file.load([*messages("lobby", numbers), *messages("other", range(1, 40))])

    async def main():
        await load(shared_nats.url, new_prefix, file)
        async with node(shared_nats.url, new_prefix, rooms=()) as one:
            await until(lambda: one.is_ready)
            for after in (0, numbers[0], numbers[-2], numbers[-1], *random.sample(range(5000), 40)):
                found = await one.history("lobby", after, 7)
                assert [message.id for message in found] == [number for number in numbers if number > after][:7]

    asyncio.run(main())


def test_an_import_that_is_done_again_takes_only_what_is_new(shared_nats, new_prefix, file):
    async def main():
        file.load(messages("lobby", range(1, 701)))
        assert await load(shared_nats.url, new_prefix, file) == 700
        assert await load(shared_nats.url, new_prefix, file) == 0
        file.load([*messages("lobby", range(701, 801)), *messages("new", range(1, 4))])
        assert await load(shared_nats.url, new_prefix, file) == 103
        assert by_room(await export(shared_nats.url, new_prefix)) == by_room(file.export())

    asyncio.run(main())


def test_what_was_said_elsewhere_is_not_mixed_with_it_unless_it_is_to_be_replaced(shared_nats, new_prefix, file):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            await outcomes([one.keep("lobby", "eve", str(number)) for number in range(40)])
        before = await export(shared_nats.url, new_prefix)
        file.load([*messages("a", [1, 2]), *messages("lobby", range(1, 31))])
        with pytest.raises(HistoryError, match=r"room 'lobby' has a different message 30 in NATS.*--replace"):
            await load(shared_nats.url, new_prefix, file)
        assert await export(shared_nats.url, new_prefix) == before
        assert await load(shared_nats.url, new_prefix, file, replaces=True) == 32
        assert by_room(await export(shared_nats.url, new_prefix)) == by_room(file.export())
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            assert (await one.keep("lobby", "bob", "new")).id == 31

    asyncio.run(main())


def test_numbers_do_not_go_back_where_the_messages_are_forgotten(shared_nats, new_prefix, file):
    async def main():
        async with node(shared_nats.url, new_prefix) as one:
            await opened(one)
            await one.keep("lobby", "eve", "x")
            await one._jetstream.ask(f"STREAM.PURGE.{new_prefix}_kept")
        file.load(messages("lobby", [1, 2]))
        with pytest.raises(HistoryError, match=r"numbers up to \d+ in NATS, and forgotten"):
            await load(shared_nats.url, new_prefix, file)
        file.load(messages("lobby", [5000]))
        assert await load(shared_nats.url, new_prefix, file) == 3

    asyncio.run(main())


def test_while_a_node_runs_nothing_is_imported(shared_nats, new_prefix, file):
    async def main():
        file.load(messages("lobby", [1]))
        rooms = Rooms(NatsBroker(shared_nats.url, prefix=new_prefix))
        await rooms.start()
        try:
            with pytest.raises(BrokerError, match=r"is running: 1 node\(s\)"):
                await load(shared_nats.url, new_prefix, file)
            assert await export(shared_nats.url, new_prefix) == []
        finally:
            await rooms.close()
        assert await load(shared_nats.url, new_prefix, file) == 1

    asyncio.run(main())


def test_what_does_not_fit_is_refused_before_anything_is_stored(shared_nats, new_prefix, file):
    async def main():
        async with node(shared_nats.url, new_prefix, HistoryLimits(max_history_file_size=300_000)):
            pass
        file.load(messages("lobby", range(1, 5), text="x" * 100_000))
        with pytest.raises(HistoryError, match=r"300,000 \(max_history_file_size\); nothing was imported"):
            await load(shared_nats.url, new_prefix, file)
        file.load(messages("a", [1], text="x" * 1_048_000))
        with pytest.raises(HistoryError, match="message 1 of room 'a' is longer than NATS takes"):
            await load(shared_nats.url, new_prefix, file)
        assert await export(shared_nats.url, new_prefix) == []

    asyncio.run(main())


def test_an_import_that_failed_in_the_middle_goes_on(shared_nats, new_prefix, file):
    async def main():
        file.load([*messages("lobby", range(1, 3001)), *messages("other", range(1, 801))])
        async with transfer(shared_nats.url, new_prefix) as moved:
            store, stored = moved._jetstream.store, []

            async def fail_later(stream, subject, payload, expected):
                if ".kept." in subject:
                    stored.append(subject)
                    if len(stored) > 4:
                        raise BrokerUnavailableError("NATS did not answer within 1 s")
                return await store(stream, subject, payload, expected)

            moved._jetstream.store = fail_later
            with pytest.raises(BrokerUnavailableError, match="import again to go on"):
                await moved.load(file)
        some = await export(shared_nats.url, new_prefix)
        assert 0 < len(some) < 3800
        assert await load(shared_nats.url, new_prefix, file) == 3800 - len(some)
        assert by_room(await export(shared_nats.url, new_prefix)) == by_room(file.export())

    asyncio.run(main())


def test_a_server_that_is_killed_in_the_middle_of_an_export_costs_a_moment(any_nats_server, file):
    async def main():
        file.load(messages("lobby", range(2, 4002, 2)))  # holes: each is stored by itself
        assert await load(any_nats_server.url, "xmlsocket", file) == 2000
        exported = []
        async with transfer(any_nats_server.url, "xmlsocket") as moved:
            async for each in moved.export():
                exported.append(each)
                if len(exported) == 700:
                    any_nats_server.kill()
                    await asyncio.to_thread(any_nats_server.start)
                    await until(lambda: moved._session.is_connected)
        assert exported == list(file.export())

    asyncio.run(main())


def test_what_cannot_be_read_is_named_by_check_and_left_out_by_export(shared_nats, new_prefix, file, caplog):
    async def main():
        file.load(messages("lobby", [1, 3]))
        await load(shared_nats.url, new_prefix, file)
        async with transfer(shared_nats.url, new_prefix) as moved:
            subject = moved._session.subjects.kept("lobby")
            head = await moved._reader.last(subject)
            damaged = await moved._jetstream.store(f"{new_prefix}_kept", subject, b"nonsense", head.sequence)
            old = KeptBatch("n", 0, 1, damaged, 2, 9, 0.0, "lobby", [("ana", "late")])
            await moved._jetstream.store(f"{new_prefix}_kept", subject, old.encode(), damaged)
            found = [each async for each in moved.check()]
        assert [each for each in found if isinstance(each, str)] == [
            "message 3 of the stream cannot be read: it was not written by xmlsocket",
            "message 4 of the stream: room 'lobby' has 2 after 3",
        ]
        assert [each.message.id for each in found if not isinstance(each, str)] == [1, 3, 2]
        assert [each.message.id for each in await export(shared_nats.url, new_prefix)] == [1, 3, 2]
        assert "message 3 of the stream cannot be read" in caplog.text

    asyncio.run(main())


def test_an_export_of_nothing_says_what_was_looked_for(shared_nats, new_prefix):
    with pytest.raises(BrokerError, match=f"no stream {new_prefix}_kept"):
        asyncio.run(export(shared_nats.url, new_prefix))


@given(
    said=st.lists(st.tuples(st.floats(0, 4e9), st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=5),
    first=st.integers(1, 2**60),
)
def test_a_batch_with_times_of_its_own_comes_back_the_same(said, first):
    said = [(at, sender.replace("\0", ""), text.replace("\0", "")) for at, sender, text in said]
    pairs, times = [(sender, text) for _, sender, text in said], [at for at, _, _ in said]
    batch = KeptBatch("node", 1, 2, 3, first, first + 9, times[-1], "a room", pairs, times)
    expected = [KeptMessage(first + place, *each) for place, each in enumerate(said)]
    assert batch.messages() == decode_batch(batch.encode()).messages() == expected
    if len(times) > 2:
        with pytest.raises(ValueError, match="not written by xmlsocket"):
            decode_batch(KeptBatch("node", 1, 2, 3, first, first, 0.0, "a", pairs, times[:2]).encode())


# From the command line


def run(*arguments, text=None):
    return subprocess.run(
        [sys.executable, "-c", "from xmlsocket.cli import main; main()", "history", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_a_service_moves_to_a_cluster_and_back_on_the_command_line(nats_server, file, tmp_path):
    file.load([*messages("lobby", range(1, 21)), *messages("b", [4])])
    lines = [
        json.dumps({"room": room, "id": each.id, "at": each.at, "sender": each.sender, "text": each.text}) + "\n"
        for room, each in file.export()
    ]
    config = tmp_path / "chat.toml"
    config.write_text(f'[serve]\nbroker = ["{nats_server.url}"]\nbroker_prefix = "moved"\n')
    # Out of order, as what was put together from several files.
    imported = run("import", "-", "--config", str(config), text="".join(reversed(lines)))
    assert (imported.stdout, imported.stderr) == ("21 messages imported\n", "")
    where = ["--broker", nats_server.url, "--broker-prefix", "moved"]
    assert run("check", *where).stdout == f"the history in {nats_server.url}: sound, 21 messages\n"
    exported = run("export", *where)
    assert sorted(exported.stdout.splitlines(keepends=True)) == sorted(lines)
    assert exported.stderr == "21 messages exported\n"
    assert len(run("export", "--room", "b", *where).stdout.splitlines()) == 1
    assert run("import", "-", "--data-dir", str(tmp_path / "back"), text=exported.stdout).returncode == 0
    wrong = run("import", "-", *where, text=lines[0].replace("text 1", "forged"))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "a different message" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert run("import", "-", "--replace", *where, text=lines[0]).stdout == "1 messages imported\n"
    assert len(run("export", *where).stdout.splitlines()) == 2


def test_a_server_that_is_not_there_is_named(tmp_path):
    done = run("export", str(tmp_path / "out"), "--broker", "nats://user:secret@127.0.0.1:1")
    assert done.returncode == 1
    assert "no NATS server can be reached at nats://127.0.0.1:1" in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "out").exists()
