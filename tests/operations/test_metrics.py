"""What a service shows agrees with what went over it, and with the catalogue; and Prometheus can read it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import xmlsocket
from xmlsocket import CloseReason
from xmlsocket.apps import find
from xmlsocket.limits import OperationsLimits
from xmlsocket.operations import METRICS, Health, ProcessStatus, Sample, merge
from xmlsocket.operations.catalogue import metric_of
from xmlsocket.operations.gathering import OUTCOMES, broker_samples
from xmlsocket.operations.lag import BUCKETS, LoopLag
from xmlsocket.operations.process import process_samples
from xmlsocket.operations.rendering import render
from xmlsocket.operations.samples import from_json, to_json
from xmlsocket.operations.workers import PARENT, WorkersStatus, answerers
from xmlsocket.rooms import History, HistoryBroker

DEADLINE = 20.0
LOCALHOST = "127.0.0.1"


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # counts that nothing tells of
            await asyncio.sleep(0.01)


def by_key(samples):
    found = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "two samples of one name and labels"
    return found


def value(samples, name, **labels):
    return by_key(samples)[name, *sorted(labels.items())]


class Echo(xmlsocket.Handler):
    def received(self, connection, messages):
        connection.send_many(messages)


def test_what_is_shown_is_what_went_over_the_connections():
    async def main():
        status = ProcessStatus()
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, policy="<cross-domain-policy/>") as server:
            status.server = server
            clients = [await xmlsocket.connect(LOCALHOST, server.port) for _ in range(3)]
            for client in clients:
                await client.send("hello")
                assert await client.receive() == "hello"
            await clients[0].close()
            for request in (b"<policy-file-request/>\0", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
                reader, writer = await asyncio.open_connection(LOCALHOST, server.port)
                writer.write(request)
                assert await reader.read()
                writer.close()
            await until(lambda: len(server.connections) == 2 and not server._listener.openings)
            samples = await status.samples()
            for client in clients[1:]:
                await client.close()
        return samples

    samples = asyncio.run(main())
    assert value(samples, "xmlsocket_connections", transport="tcp") == 2
    assert value(samples, "xmlsocket_connections", transport="websocket") == 0
    assert value(samples, "xmlsocket_clients_total") == 5
    assert value(samples, "xmlsocket_other_clients_total", outcome="policy") == 1
    assert value(samples, "xmlsocket_other_clients_total", outcome="http") == 1
    assert value(samples, "xmlsocket_closes_total", reason="peer_closed") == 1
    assert value(samples, "xmlsocket_messages_received_total") == 3
    assert value(samples, "xmlsocket_messages_sent_total") == 3
    assert value(samples, "xmlsocket_received_bytes_total") == 18
    assert value(samples, "xmlsocket_sent_bytes_total") == 18
    assert value(samples, "process_open_fds") > 2


def test_a_browser_and_a_unix_socket_are_told_from_tcp(tmp_path):
    async def main():
        status = ProcessStatus()
        path = str(tmp_path / "s")
        async with xmlsocket.serve(Echo(), path=path) as server:
            status.server = server
            client = await xmlsocket.connect(path=path)
            await client.send("x")
            await client.receive()
            over_unix = await status.samples()
            await client.close()
        from websockets.asyncio.client import connect

        async with xmlsocket.serve(Echo(), LOCALHOST, 0) as server:
            status.server = server
            async with connect(f"ws://{LOCALHOST}:{server.port}/") as browser:
                await browser.send(b"x\0")
                await browser.recv()
                by_websocket = await status.samples()
        return over_unix, by_websocket

    over_unix, by_websocket = asyncio.run(main())
    for samples, transport in ((over_unix, "unix"), (by_websocket, "websocket")):
        for kind in ("tcp", "unix", "websocket"):
            assert value(samples, "xmlsocket_connections", transport=kind) == (kind == transport)


def test_a_client_that_does_not_read_is_seen_in_the_backlog():
    async def main():
        status = ProcessStatus()
        async with xmlsocket.serve(
            Echo(), LOCALHOST, 0, detect=False, send_high_water=1000, send_low_water=0
        ) as server:
            status.server = server
            sock = socket.create_connection((LOCALHOST, server.port))
            await until(lambda: server.connections)
            connection = server.connections[0]
            while not connection.is_send_paused:
                connection.send_nowait("x" * 100_000)
                await asyncio.sleep(0)
            samples = await status.samples()
            sock.close()
        return samples

    samples = asyncio.run(main())
    assert value(samples, "xmlsocket_send_backlog_bytes") > 1000
    assert value(samples, "xmlsocket_send_backlog_max_bytes") == value(samples, "xmlsocket_send_backlog_bytes")
    assert value(samples, "xmlsocket_send_paused") == 1


def test_counters_never_fall_while_connections_come_talk_and_go():
    async def main():
        status, falls, before = ProcessStatus(), [], {}
        async with xmlsocket.serve(Echo(), LOCALHOST, 0, detection_timeout=0.01) as server:
            status.server = server
            is_over = False

            async def come_and_go(number):
                while not is_over:
                    async with xmlsocket.connect(LOCALHOST, server.port) as client:
                        if number % 3 == 0:
                            await asyncio.sleep(0.02)  # a connection by now, which asks for a policy after all
                            with contextlib.suppress(xmlsocket.ConnectionClosedError):
                                await client.send("<policy-file-request/>")
                                await client.receive()
                        else:
                            await client.send("x")
                            await client.receive()

            tasks = [asyncio.create_task(come_and_go(number)) for number in range(12)]
            for _ in range(40):
                now = by_key(await status.samples())
                falls += [key for key in before if metric_of(key[0]).kind != "gauge" and now[key] < before[key]]
                before = now
                await asyncio.sleep(0.005)
            is_over = True
            await asyncio.gather(*tasks)
        assert falls == []
        assert before["xmlsocket_messages_received_total",] > 0

    asyncio.run(main())


def test_rooms_and_the_history_are_shown(tmp_path):
    async def main():
        file = tmp_path / "chat.db"
        app = find("chat").make(broker=HistoryBroker(lambda: History(file)))
        status = ProcessStatus()
        status.rooms, status.history_file = app.rooms, file
        await app.start()
        async with xmlsocket.serve(app, LOCALHOST, 0, encoding=None) as server:
            status.server = server
            client = await xmlsocket.connect(LOCALHOST, server.port)
            for request in ('<login name="ann"/>', '<join room="a"/>', '<join room="b"/>', '<say room="a">hi</say>'):
                await client.send(request)
            while "<said" not in await client.receive():
                pass
            samples, health = await status.samples(), await status.health()
            await client.close()
        await app.close()
        return samples, health

    samples, health = asyncio.run(main())
    assert value(samples, "xmlsocket_rooms") == 2
    assert value(samples, "xmlsocket_members") == 2
    assert value(samples, "xmlsocket_broker_ready") == 1
    assert value(samples, "xmlsocket_history_kept_total") == 1
    assert value(samples, "xmlsocket_history_pending") == 0
    assert value(samples, "xmlsocket_history_commit_seconds_count") == 1
    assert value(samples, "xmlsocket_history_commit_seconds_sum") > 0
    assert value(samples, "xmlsocket_history_file_bytes") > 4096
    assert health == Health()
    assert [sample.name for sample in samples if metric_of(sample.name) not in METRICS] == []


def test_a_broker_that_refuses_is_an_obstacle_in_its_own_words():
    class Away(xmlsocket.rooms.MemoryBroker):
        @property
        def state(self):
            return xmlsocket.rooms.broker.BrokerState(False, "nats://x is out of reach since 3 s", {"gaps_total": 7})

    async def main():
        status = ProcessStatus()
        status.rooms = xmlsocket.Rooms(Away())
        async with xmlsocket.serve(Echo(), LOCALHOST, 0) as server:
            status.server = server
            return await status.health(), await status.samples()

    health, samples = asyncio.run(main())
    assert health == Health(obstacles=("nats://x is out of reach since 3 s",))
    assert value(samples, "xmlsocket_broker_ready") == 0
    page = render(samples).body.decode()
    assert "# TYPE xmlsocket_broker_gaps_total counter" in page
    assert "\nxmlsocket_broker_gaps_total 7.0\n" in page


def test_what_our_brokers_count_is_in_the_catalogue(tmp_path):
    from xmlsocket.rooms.cluster import NatsBroker

    brokers = [
        xmlsocket.rooms.MemoryBroker(),
        HistoryBroker(lambda: History(tmp_path / "x.db")),
        NatsBroker("nats://localhost:4222"),
    ]
    samples = [sample for broker in brokers for sample in broker_samples(broker)]
    assert len({sample.name for sample in samples}) > 20
    assert [sample.name for sample in samples if metric_of(sample.name) not in METRICS] == []


def test_every_end_of_a_client_is_counted_under_one_outcome_at_most():
    reasons = [reason for group in OUTCOMES.values() for reason in group]
    assert len(reasons) == len(set(reasons))
    assert set(reasons) < set(CloseReason)


def test_the_catalogue_follows_the_rules_of_prometheus():
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert re.fullmatch(r"(xmlsocket|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help
        assert not metric.help.endswith(".")
        assert metric.section


@pytest.mark.skipif(sys.platform != "linux", reason="the collector of prometheus-client knows only Linux")
def test_the_process_is_described_as_prometheus_client_would():
    from prometheus_client import ProcessCollector

    ours = {sample.name: sample.value for sample in process_samples()}
    theirs = {s.name: s.value for family in ProcessCollector(registry=None).collect() for s in family.samples}
    assert set(ours) == set(theirs)
    assert ours["process_start_time_seconds"] == pytest.approx(theirs["process_start_time_seconds"], abs=2)
    assert abs(ours["process_open_fds"] - theirs["process_open_fds"]) <= 2  # its own listing opens one
    assert ours["process_max_fds"] == theirs["process_max_fds"]
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes"):
        assert ours[name] == pytest.approx(theirs[name], rel=0.2, abs=0.1), name


samples_of_catalogue = st.lists(
    st.builds(
        lambda metric, number, labels: Sample(metric.name, number, dict.fromkeys(metric.labels, labels)),
        st.sampled_from([metric for metric in METRICS if metric.kind in ("counter", "gauge")]),
        st.floats(0, 1e15),
        st.text(),
    ),
    unique_by=lambda sample: (sample.name, *sample.labels.items()),
)


@given(samples_of_catalogue)
def test_prometheus_reads_what_was_shown_in_both_formats(samples):
    for accept, parse in (("", parse_text), ("application/openmetrics-text; version=1.0.0", parse_open_metrics)):
        text = render(samples, accept).body.decode()
        read = [(item.name, item.value, item.labels) for family in parse(text) for item in family.samples]
        assert sorted(read, key=repr) == sorted(((*sample[:2], dict(sample.labels)) for sample in samples), key=repr)


def test_everything_a_process_shows_is_read_by_the_strict_parser_of_openmetrics():
    async def main():
        status = ProcessStatus()
        async with xmlsocket.serve(Echo(), LOCALHOST, 0) as server:
            status.server = server
            return await status.samples()

    samples = asyncio.run(main())
    both = merge({"1": samples, "2": samples})
    text = render(both, "application/openmetrics-text; version=1.0.0").body.decode()
    assert sum(len(family.samples) for family in parse_open_metrics(text)) == 2 * len(samples)


@given(samples_of_catalogue)
def test_samples_cross_to_another_process_unchanged(samples):
    assert from_json(json.loads(json.dumps(to_json(samples)))) == samples


@pytest.mark.parametrize(
    "wrong", [None, {}, [1], [["x"]], [["x", "1", {}]], [["x", 1, []]], [[1, 1, {}]], [["x", math.inf, {}]]]
)
def test_what_are_no_samples_is_refused(wrong):
    with pytest.raises(ValueError, match="sample"):
        from_json(wrong)


def test_the_lag_is_counted_in_its_bucket_and_the_worst_is_forgotten_in_time():
    lag = LoopLag()
    for seconds in (0.0, BUCKETS[0], 0.3, 60.0):
        lag.note(seconds, now=0.0)
    samples = list(lag.samples())
    assert value(samples, "xmlsocket_loop_lag_seconds_bucket", le="0.001") == 2
    assert value(samples, "xmlsocket_loop_lag_seconds_bucket", le="0.25") == 2
    assert value(samples, "xmlsocket_loop_lag_seconds_bucket", le="0.5") == 3
    assert value(samples, "xmlsocket_loop_lag_seconds_bucket", le="+Inf") == 4
    assert value(samples, "xmlsocket_loop_lag_seconds_count") == 4
    assert value(samples, "xmlsocket_loop_lag_max_seconds") == 60
    for now in (40.0, 80.0, 120.0):
        lag.note(0.0, now)
    assert value(list(lag.samples()), "xmlsocket_loop_lag_max_seconds") == 0
    assert value(list(lag.samples()), "xmlsocket_loop_lag_seconds_sum") == pytest.approx(60.301)


def test_a_loop_that_was_held_up_is_seen():
    async def main():
        lag = LoopLag()
        lag.start()
        async with asyncio.timeout(DEADLINE):
            while value(list(lag.samples()), "xmlsocket_loop_lag_max_seconds") < 0.1:
                import time

                time.sleep(0.3)  # noqa: ASYNC251  # what must not be done is what is to be seen
                await asyncio.sleep(0)
        lag.stop()

    asyncio.run(main())


# Several workers


class Worker:
    """A worker as its parent sees it: the answers go through JSON."""

    def __init__(self, samples=(), health=None):
        self.found = list(samples)
        self.state = health or Health()

    async def samples(self):
        return self.found

    async def health(self):
        return self.state

    def start(self):
        pass

    def stop(self):
        pass

    async def ask(self, question):
        return json.loads(json.dumps(await answerers(self)[question]()))


class Hung(Worker):
    async def ask(self, question):
        await asyncio.get_running_loop().create_future()


class Gone(Worker):
    async def ask(self, question):
        raise ConnectionError("it is gone")


class Mad(Worker):
    async def ask(self, question):
        return "what?"


def shown(*workers, own=None):
    own = own or Worker([Sample("xmlsocket_uptime_seconds", 5)])
    limits = OperationsLimits(worker_timeout=0.2)
    status = WorkersStatus(own, lambda: {str(n): worker.ask for n, worker in enumerate(workers, 1)}, limits)

    async def main():
        return await status.samples(), await status.health()

    return asyncio.run(main())


def test_the_samples_of_workers_stand_side_by_side_with_those_of_their_parent():
    samples, health = shown(Worker([Sample("xmlsocket_rooms", 3)]), Worker([Sample("xmlsocket_rooms", 4)]))
    assert value(samples, "xmlsocket_rooms", worker="1") == 3
    assert value(samples, "xmlsocket_rooms", worker="2") == 4
    assert value(samples, "xmlsocket_uptime_seconds", worker=PARENT) == 5
    assert value(samples, "xmlsocket_workers", state="answering") == 2
    assert health == Health()


def test_workers_that_should_be_there_and_are_not_are_counted():
    status = WorkersStatus(Worker(), lambda: {"2": Worker().ask}, expected=3)
    samples = asyncio.run(status.samples())
    assert value(samples, "xmlsocket_workers", state="answering") == 1
    assert value(samples, "xmlsocket_workers", state="missing") == 2


@pytest.mark.parametrize("broken", [Hung, Gone, Mad])
def test_a_worker_that_does_not_answer_hides_no_other_and_makes_the_service_unready(broken):
    samples, health = shown(Worker([Sample("xmlsocket_rooms", 3)]), broken())
    assert value(samples, "xmlsocket_rooms", worker="1") == 3
    assert value(samples, "xmlsocket_workers", state="silent") == 1
    assert health == Health(obstacles=("worker 2 does not answer within 0.2 s",))


def test_a_service_none_of_whose_workers_answers_is_not_alive():
    _, health = shown(Hung(), Gone())
    assert health == Health(faults=("workers 1, 2 do not answer within 0.2 s",))


def test_a_service_without_workers_is_alive_and_not_ready():
    _, health = shown()
    assert health == Health(obstacles=("no worker runs",))


def test_what_several_workers_say_is_said_once():
    away = Health(obstacles=("the broker is away",))
    _, health = shown(Worker(), Worker(health=away), Worker(health=away))
    assert health == Health(obstacles=("workers 2, 3: the broker is away",))


# What the files in deploy/ name

DEPLOY = Path(__file__).parents[2] / "deploy"
KNOWN = {name for metric in METRICS for name in metric.sample_names}
LABELS = {label for metric in METRICS for label in metric.labels} | {"worker", "instance", "job"}


def expressions(value, key=""):
    if isinstance(value, dict):
        for name, item in value.items():
            yield from expressions(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item, key)
    elif key in ("expr", "query", "definition"):
        yield value


def metrics_in(expression):
    return set(re.findall(r"\b(?:xmlsocket|process)_\w+", expression))


def test_every_metric_on_the_dashboard_exists():
    dashboard = json.loads((DEPLOY / "grafana" / "xmlsocket.json").read_text("utf-8"))
    found = [expression for expression in expressions(dashboard) if isinstance(expression, str)]
    assert len(found) > 20
    assert {name for expression in found for name in metrics_in(expression)} <= KNOWN
    for expression in found:
        for label in re.findall(r"[{,]\s*(\w+)\s*=", expression):
            assert label in LABELS, expression
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_panels_of_the_dashboard_do_not_overlap():
    taken = set()
    for panel in json.loads((DEPLOY / "grafana" / "xmlsocket.json").read_text("utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_metric_in_the_alert_rules_exists():
    text = (DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8")
    alerts = re.findall(r"- alert: (\w+)", text)
    assert len(set(alerts)) == len(alerts) >= 6
    assert text.count("summary:") == text.count("description:") == len(alerts)
    assert metrics_in(text) <= KNOWN
    assert "localhost:9464" in (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
