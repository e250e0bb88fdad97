"""Ruffle's ``socketProxy`` setting: made for a gateway, and put into files that people wrote."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmlsocket.errors import ConfigurationError
from xmlsocket.gateway import parse_target
from xmlsocket.gateway.object_literal import read_value
from xmlsocket.gateway.ruffle_config import (
    ProxyEntry,
    Spelling,
    make_entries,
    merge,
    read_entries,
    render_json,
    render_script,
)

ENTRY = ProxyEntry("game.example", 9339, "wss://web.example/")
PLAIN = {"host": "game.example", "port": 9339, "proxyUrl": "wss://web.example/"}


def setting_of(script: str) -> object:
    """What a merged script says, read back."""
    return read_value(script, script.index("{", script.index("RufflePlayer.config =")))[0]["socketProxy"]


def test_one_target_has_the_public_address_as_it_is_and_every_spelling_an_entry():
    entries = make_entries(
        [parse_target("Game.Example:9339")], "wss://web.example/ws?a=1", [Spelling("127.0.0.1"), Spelling("old", 843)]
    )
    assert entries == [
        ("Game.Example", 9339, "wss://web.example/ws?a=1"),
        ("127.0.0.1", 9339, "wss://web.example/ws?a=1"),
        ("old", 843, "wss://web.example/ws?a=1"),
    ]


def test_several_targets_have_the_paths_that_the_gateway_knows():
    entries = make_entries([parse_target("login=a:1"), parse_target("b:2")], "wss://web.example/")
    assert [entry.url for entry in entries] == ["wss://web.example/login", "wss://web.example/b:2"]


def test_two_entries_for_one_place_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigurationError, match="Ruffle takes the first"):
        make_entries([parse_target("x=a:1"), parse_target("b:1")], "wss://web.example/", [Spelling("b")])


@pytest.mark.parametrize(
    "url", ["https://a/", "a.example", "wss://", "/ws", "ws://a b/", "wss://a/#x", "ws://a:99999/"]
)
def test_an_address_that_no_browser_can_open_is_refused(url):
    with pytest.raises(ConfigurationError, match="address of a WebSocket"):
        make_entries([parse_target("a:1")], url)


def test_json_and_script_say_the_same():
    assert json.loads(render_json([ENTRY])) == {"socketProxy": [PLAIN]}
    assert setting_of(render_script([ENTRY])) == [PLAIN]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    others=st.dictionaries(st.text().filter(lambda name: name != "socketProxy"), json_values, max_size=4),
    existing=st.none() | st.lists(st.dictionaries(st.sampled_from(["host", "port", "proxyUrl", "x"]), json_values)),
    indent=st.sampled_from([None, 0, 2, 4, "\t"]),
)
@settings(max_examples=80)
def test_merging_into_json_changes_nothing_else_and_a_second_time_nothing_at_all(others, existing, indent):
    before = dict(others) if existing is None else {**others, "socketProxy": existing}
    merged = merge(json.dumps(before, indent=indent, ensure_ascii=False), [ENTRY])
    after = json.loads(merged)
    proxies = after.pop("socketProxy")
    assert after == others
    assert proxies == [*(existing or []), PLAIN]
    assert merge(merged, [ENTRY]) == merged


def test_an_entry_for_the_same_place_is_replaced_and_others_stay():
    text = json.dumps(
        {"socketProxy": [{"host": "z", "port": 1, "proxyUrl": "q"}, {**PLAIN, "proxyUrl": "old", "x": 1}]}
    )
    assert json.loads(merge(text, [ENTRY]))["socketProxy"] == [
        {"host": "z", "port": 1, "proxyUrl": "q"},
        {**PLAIN, "x": 1},
    ]


COMMENTED = """\
RufflePlayer.config = {
  // mine
  socketProxy: [ // the servers
    // the old one, which moved in 2019
    { host: 'z', port: 1, proxyUrl: 'q' }, // do not remove
    { host: "localhost", port: 9339, proxyUrl: "wss://old/", note: 'keep' } /* ours */
    // nothing follows
  ],
};
"""


@pytest.mark.parametrize("comma", ["", ","])
def test_comments_inside_the_list_stay_where_they_are(comma):
    before = COMMENTED.replace(" /* ours */", comma + " /* ours */")
    other = ENTRY._replace(host="other")
    for entries in ([ENTRY], [other], [ENTRY, other], [other, ENTRY]):
        after = merge(before, entries)
        for comment in ("// mine", "// the servers", "// the old one, which moved in 2019", "// do not remove"):
            assert comment in after
        assert after.index("/* ours */") < after.index("// nothing follows")
        found = {(entry.host, entry.port): entry.url for entry in read_entries(after)}
        wanted = {(entry.host, entry.port): entry.url for entry in entries}
        assert found == {("z", 1): "q", ("localhost", 9339): "wss://old/"} | wanted
        assert "'keep'" in after or '"keep"' in after
        assert merge(after, entries) == after


@pytest.mark.parametrize(
    "text", ["RufflePlayer.config = { /* none yet */ };", "RufflePlayer.config = {socketProxy: [ // none yet\n]};"]
)
def test_comments_where_nothing_else_is_stay(text):
    after = merge(text, [ENTRY])
    assert "none yet" in after
    assert [(entry.host, entry.port, entry.url) for entry in read_entries(after)] == [ENTRY]
    assert merge(after, [ENTRY]) == after


SCRIPT = """\
// RufflePlayer.config = { not: "this" }
/* nor RufflePlayer.config = {} */
const text = "RufflePlayer.config = {}", pattern = /[/'"`{]RufflePlayer.config = {/g;
window.RufflePlayer = window.RufflePlayer || {};
window.RufflePlayer.config = {
    // it's the user's
    autoplay: "on", letterbox: 'off', // }
    'base': `a}${1}`,
    handler() { return { a: [1, 2] }; },
    ratio: 4 / 3 / 2,
    ...others,
};
start();
"""


def test_a_script_keeps_every_line_that_it_had():
    merged = merge(SCRIPT, [ENTRY])
    added = [line for line in merged.splitlines() if line not in SCRIPT.splitlines()]
    assert [line for line in merged.splitlines() if line not in added] == SCRIPT.splitlines()
    assert json.dumps(PLAIN) in "".join(added)
    assert merge(merged, [ENTRY]) == merged


def test_a_list_in_a_script_is_read_as_people_write_it():
    script = "RufflePlayer['config'] = {a: 1, socketProxy: [{host: 'z', port: 1, proxyUrl: 'q',}, /* more */], b: 2}"
    merged = merge(script, [ENTRY])
    start = merged.index("{")
    assert read_value(merged, start)[0] == {
        "a": 1,
        "socketProxy": [{"host": "z", "port": 1, "proxyUrl": "q"}, PLAIN],
        "b": 2,
    }


def test_a_page_is_changed_in_its_script_only_and_cannot_be_broken_out_of():
    page = (
        "<!doctype html><p>don't</p><!-- <script>RufflePlayer.config = {}</script> -->\n"
        "<script>RufflePlayer.config = {};</script><p>it's</p>"
    )
    merged = merge(page, [ENTRY._replace(url="wss://a/</script>")])
    assert merged.startswith(page[: page.rindex("{")])
    assert merged.endswith("};</script><p>it's</p>")
    assert merged.count("</script>") == page.count("</script>")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": ', "not JSON"),
        ('{"socketProxy": {}}', "list of objects"),
        ('{"socketProxy": [1]}', "list of objects"),
        ('{"socketProxy": [], "socketProxy": []}', "twice"),
        ("let a = 1;", "there is no window.RufflePlayer.config"),
        ("RufflePlayer.config = make();", "something else than an object literal"),
        ("RufflePlayer.config = {};\nRufflePlayer.config = {};", "lines 1 and 2"),
        ("RufflePlayer.config = {socketProxy: list()}", "by hand"),
        ("RufflePlayer.config = {socketProxy: [...list]}", "by hand"),
        ("RufflePlayer.config = {socketProxy: [].concat(list)}", "by hand"),
        ("RufflePlayer.config = {socketProxy: [{host, port: 1}]}", "by hand"),
        ("RufflePlayer.config = {socketProxy}", "by hand"),
        ("RufflePlayer.config = {a: [1, 2}", "brackets do not match"),
        ("RufflePlayer.config = {a: 1", "brackets do not match"),
        ("RufflePlayer.config = {a: 1 b: 2", "brackets do not match|no object literal"),
        ("[1]", "there is no window"),
    ],
)
def test_what_cannot_be_changed_for_certain_is_refused_with_a_sentence(text, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        merge(text, [ENTRY])


@given(st.text(alphabet="{}[]()'\"`/\\*\n:,a.=RufflePlayer.config <script>"), st.booleans())
@settings(max_examples=200)
def test_any_text_is_merged_or_refused(text, is_assigned):
    with contextlib.suppress(ConfigurationError):
        merge(f"RufflePlayer.config = {{{text}" if is_assigned else text, [ENTRY])
