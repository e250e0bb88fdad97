"""Wrong options, values and configuration files: a sentence that names what is wrong and the nearest right thing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.cli.processes import DEADLINE, SCRIPT, ask, environment, run, serving

from xmlsocket.cli import program
from xmlsocket.cli.configuration import combine
from xmlsocket.cli.options import LIMITS, option_name
from xmlsocket.errors import ConfigurationError
from xmlsocket.limits import ChatLimits, Limits, RoomLimits


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command that never gets as far as serving, in this process."""
    code = program.run(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("serve", "--prot", "1"), "there is no option --prot; did you mean --port?"),
        (("serve", "--polcy-port", "1"), "did you mean --policy-port?"),
        (("serve", "--max-mesage-size", "1"), "did you mean --max-message-size?"),
        (("serve", "--xyzzy"), "there is no option --xyzzy\n"),
        (("serv",), "Did you mean 'serve'?"),
        (("serve", "chatt"), "there is no application called 'chatt'; did you mean chat?"),
        (("serve", "--port", "http"), "--port must be a whole number from 0 to 65535, not 'http'"),
        (("serve", "--port", "65536"), "--port must be a whole number from 0 to 65535, not '65536'"),
        (("serve", "--port"), "requires an argument"),
        (("serve", "--host", ""), "--host must be a name or an address, or *"),
        (("serve", "--max-message-size", "1k"), "must be a whole number of bytes, or none for no limit, not '1k'"),
        (("serve", "--max-message-size", "1.5"), "must be a whole number of bytes"),
        (("serve", "--close-timeout", "none"), "--close-timeout cannot be none: it must be a number of seconds"),
        (("serve", "--close-timeout", "-1"), "--close-timeout must be 0 or more seconds, not -1"),
        (("serve", "--idle-timeout", "nan"), "--idle-timeout must be 0 or more seconds"),
        (("serve", "--send-low-water", "100000"), "send_low_water (100000) must not exceed send_high_water (65536)"),
        (("serve", "echo", "--max-rooms", "3"), "max_rooms is a limit of chat and relay; echo has no such limit"),
        (("serve", "--log-level", "verbose"), "--log-level must be debug, info, warning, error or critical"),
        (("serve", "--errors", "strickt"), "did you mean strict?"),
        (("serve", "--encoding", "utf-16"), "--encoding: utf-16 can put a zero byte inside a character"),
        (("serve", "--encoding", "latin-1"), "--encoding is for your own handlers: chat decides that itself"),
        (("serve", "--path", "/tmp/x", "--port", "1"), "--port and --path exclude each other"),
        (("serve", "--policy-port", "843"), "--policy-port needs --policy FILE"),
        (("serve", "--request-timeout", "3"), "request_timeout is a limit of the policy port; it needs --policy-port"),
        (("serve", "--policy", "/no/such/file"), "cannot read the policy file"),
        (("serve", "--tls-key", "key.pem"), "--tls-key needs --tls-cert FILE"),
        (("serve", "--tls-cert", "/no/such/file"), "cannot read /no/such/file: No such file"),
        (("serve", "--config", "/no/such/file"), "cannot read the configuration file /no/such/file"),
        (("serve", "--reload"), "--reload watches your own code"),
        (("serve", "--host", "a..b"), "'a..b' cannot be the name of a host"),
        (("connect", "a..b:80"), "'a..b' cannot be the name of a host"),
        (("serve", "--open-timeout", "3"), "there is no option --open-timeout"),
        (("serve", "--backoff-max", "3"), "there is no option --backoff-max"),
        (("serve", "nowhere:handler"), "there is no module nowhere in"),
        (("serve", ":handler"), "is half of module:handler"),
        (("serve", "game.py:handler"), "say the module as Python imports it: game:handler"),
        (("policy", "lnt"), "Did you mean 'lint'?"),
        (("policy", "lint", "--jsn", "x"), "did you mean --json?"),
    ],
)
def test_a_wrong_option_value_or_name_is_a_sentence_and_exit_code_2(capsys, arguments, sentence):
    code, out, err = command(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert sentence in err


def test_a_wrong_option_of_the_real_script_says_where_help_is():
    result = run("serve", "--prot", "1")
    assert result.returncode == 2
    assert result.stderr.decode() == (
        "error: there is no option --prot; did you mean --port?\nSee xmlsocket serve --help\n"
    )


def test_control_characters_in_an_argument_do_not_reach_the_terminal(capsys):
    _, _, err = command(capsys, "serve", "\x1b[2J")
    assert "\x1b" not in err


# Help


def test_every_limit_is_an_option_with_its_unit_default_and_reason(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = command(capsys, "serve", "--help")
    assert code == 0
    for owner in (Limits, RoomLimits, ChatLimits):
        for limit in owner.describe():
            if limit.name in ("open_timeout", "backoff_initial", "backoff_max", "backoff_factor"):
                assert option_name(limit.name) not in out  # it would do nothing: a server does not connect
                continue
            (line,) = [line for line in out.splitlines() if f"--{limit.name.replace('_', '-')} " in line]
            assert limit.unit.upper() in line
            assert limit.why[1:] in line
            assert ("none" if limit.default is None else f"{limit.default:,}".removesuffix(".0")) in line


def test_no_two_limits_of_the_daemon_have_one_name():
    owners = {known.owner for known in LIMITS.values()}
    assert {Limits, RoomLimits, ChatLimits} <= owners
    assert all(
        LIMITS[limit.name].owner is owner for owner in owners for limit in owner.describe() if limit.name in LIMITS
    )


@pytest.mark.parametrize("name", ["serve", "connect", "send", "policy"])
def test_every_command_has_help(capsys, name):
    code, out, err = command(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: xmlsocket {name}" in out


def test_without_a_command_it_shows_the_commands(capsys):
    code, out, _ = command(capsys)
    assert code == 0
    assert all(name in out for name in ("serve", "connect", "send", "policy"))


def test_it_says_its_version():
    assert run("--version").stdout.decode().startswith("xmlsocket 0.")


def test_without_typer_or_rich_one_sentence_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; from xmlsocket.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=DEADLINE, env=environment())
    assert result.returncode == 2
    assert result.stderr.decode() == (
        'The command line needs typer, which the library alone does not bring: pip install "xmlsocket[daemon]"\n'
    )


# Configuration files


def test_a_configuration_file_sets_options_and_limits_and_the_command_line_wins(tmp_path):
    (tmp_path / "policy.xml").write_text("<cross-domain-policy/>")
    file = tmp_path / "daemon.toml"
    file.write_text(
        '[serve]\napp = "echo"\nport = 0\nhost = "127.0.0.1"\npolicy = "policy.xml"\n'
        "[limits]\nmax_message_size = 100\nmax_send_backlog = 'none'\nidle_timeout = 5\n"
    )
    options = combine({"app": "relay"}, {"max_message_size": "200"}, file)
    assert (options.app, options.host, options.port) == ("relay", "127.0.0.1", 0)
    assert options.policy == str(tmp_path / "policy.xml"), "paths are relative to the file they stand in"
    assert options.limits == {"max_message_size": 200, "max_send_backlog": None, "idle_timeout": 5.0}
    with serving("--config", str(file), listen=()) as daemon:
        assert "serving echo on 127.0.0.1" in daemon.wait_for("^serving.*")[0]
        assert ask(daemon.port, "x" * 100) == ["x" * 100]
        assert ask(daemon.port, "x" * 101) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[serve]\nprot = 1", "there is no key prot in [serve]; did you mean port?"),
        ("[serve]\nmax_rooms = 1", "there is no key max_rooms in [serve]; it belongs below [limits]"),
        (
            "[limits]\nmax_mesage_size = 1",
            "there is no limit max_mesage_size in [limits]; did you mean max_message_size?",
        ),
        ("[limits]\nport = 1", "there is no limit port in [limits]; it belongs below [serve]"),
        ("[server]\nport = 1", "there is no table server; did you mean serve?"),
        ("port = 1", "there is no table port; it belongs below [serve]"),
        ("serve = 1", "serve must be a table, written as [serve]"),
        ('[serve]\nport = "8080"', "port in [serve] must be a whole number, not '8080'"),
        ("[serve]\nport = true", "port in [serve] must be a whole number, not True"),
        ("[serve]\nport = 70000", "port in [serve] must be a whole number from 0 to 65535, not 70000"),
        ("[serve]\nhost = 1", "host in [serve] must be text in quotes, not 1"),
        ('[serve]\nlog_level = "loud"', "log_level in [serve] must be debug, info"),
        ("[limits]\nmax_message_size = 1.5", "max_message_size in [limits] must be a whole number of bytes"),
        ("[limits]\nclose_timeout = 'none'", "close_timeout in [limits] cannot be none"),
        ("[limits]\nidle_timeout = -1", "idle_timeout in [limits] must be 0 or more seconds"),
        ("[serve", "is not TOML"),
        ("\xff\xfe", "is not TOML"),
        ('[serve]\npath = "a"\nport = 1', "--port and --path exclude each other"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_file(capsys, tmp_path, text, sentence):
    file = tmp_path / "daemon.toml"
    file.write_bytes(text.encode("latin-1"))
    code, _, err = command(capsys, "serve", "--config", str(file))
    assert code == 2
    assert sentence in err
    if "exclude" not in sentence:
        assert str(file) in err


def test_a_path_on_the_command_line_takes_the_place_of_a_port_in_the_file(tmp_path):
    file = tmp_path / "daemon.toml"
    file.write_text("[serve]\nport = 9000\nhost = 'localhost'\n")
    assert combine({"path": "x.sock"}, {}, file).path == "x.sock"
    file.write_text("[serve]\npath = 'x.sock'\n")
    assert combine({"port": "9000"}, {}, file).path is None
    with pytest.raises(ConfigurationError):
        combine({"port": "9000", "path": "x.sock"}, {}, file)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("policy", "make", "--domain", "a.b", "--to-ports", "1234")]
)
def test_output_that_cannot_be_written_is_said_in_a_sentence(arguments):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [SCRIPT, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=DEADLINE
        )
    assert (result.returncode, result.stderr) == (
        1,
        b"error: cannot write to standard output: No space left on device\n",
    )
