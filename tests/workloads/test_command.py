"""`maelstrom run`: its options, what it prints, and its exit status."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest

from labsupport import cli, environment
from labsupport.errors import LearnerError, SetupError
from labsupport.workloads import command
from labsupport.workloads.programs import node_classes, program

NODES = pathlib.Path(__file__).parent / "nodes"
QUICK = ["--rate", "60", "--time-limit", "0.8", "--recovery", "0.5", "--seed", "3"]


def run(capsys, *words: str) -> tuple[int, str, str]:
    status = command.main(["run", *map(str, words)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def given(*words: str):
    """The setting that options make."""
    chosen = command.parser().parse_args(["run", "--bin", "x", *words])
    return command.setting(chosen), chosen


# ------------------------------------------------------------------------------------------------ options


def test_nodes_are_called_as_maelstrom_calls_them():
    assert given()[0].nodes == ("n1", "n2", "n3", "n4", "n5")
    assert given("--node-count", "3")[0].nodes == ("n0", "n1", "n2")
    assert given("--nodes", "a,b")[0].nodes == ("a", "b")


def test_concurrency_is_a_number_or_one_for_each_node():
    assert given("-w", "echo")[0].concurrency == 5
    assert given("-w", "lin-kv")[0].concurrency == 10
    assert given("-w", "kafka", "--node-count", "2", "--concurrency", "2n")[0].concurrency == 4
    assert given("--concurrency", "7")[0].concurrency == 7


def test_the_other_options_of_maelstrom_are_understood():
    words = "--rate 1000 --time-limit 20 --latency 100 --latency-dist exponential --topology tree4 --nemesis partition"
    words += " --nemesis-interval 2.5 --availability total --consistency-models read-committed,serializable"
    words += " --key-count 3 --max-txn-length 2 --max-writes-per-key 8 --log-stderr"
    setting, chosen = given(*words.split())
    assert (chosen.rate, chosen.time_limit, chosen.latency, chosen.latency_dist) == (1000, 20, 100, "exponential")
    assert (chosen.nemesis, chosen.nemesis_interval, chosen.availability) == (("partition",), 2.5, 1.0)
    assert (setting.topology, setting.latency_ms) == ("tree4", 100)
    assert setting.consistency_models == ("read-committed", "serializable")
    assert (setting.key_count, setting.max_txn_length, setting.max_writes_per_key) == (3, 2, 8)


@pytest.mark.parametrize(
    "words",
    ["--concurrency 2m", "--nemesis flood", "--consistency-models sequential", "--availability 2", "--rate -1", "-w x"],
)
def test_what_cannot_be_meant_is_refused(words, capsys):
    with pytest.raises(SystemExit) as left:
        given(*words.split())
    assert left.value.code == 2 and words.split()[1] in capsys.readouterr().err


def test_without_a_seed_one_is_drawn_and_shown():
    assert given()[0].seed != given()[0].seed


# ------------------------------------------------------------------------------------------------ what is run


def test_a_file_of_one_node_class_needs_no_more_words():
    assert program(str(NODES / "gossip.py")).__name__ == "SendsOnce"
    assert program(f"{NODES / 'gossip.py'}:SavesAll").__name__ == "SavesAll"


def test_a_script_that_is_not_executable_is_run_by_this_python():
    assert program(str(NODES / "echo.py"), ["changes"]) == [sys.executable, str(NODES / "echo.py"), "changes"]


def test_anything_else_is_a_program_with_its_arguments():
    assert program("/bin/true", ["-x"]) == ["/bin/true", "-x"]


def test_which_class_is_meant_has_to_be_clear(tmp_path):
    path = tmp_path / "two.py"
    path.write_text("from labsupport import Node\nclass A(Node):\n    pass\nclass B(Node):\n    pass\n", "utf-8")
    assert node_classes(path) == ["A", "B"]
    with pytest.raises(LearnerError, match="defines several Node classes: A, B"):
        program(str(path))
    with pytest.raises(LearnerError, match="takes no arguments"):
        program(f"{path}:A", ["--fast"])
    with pytest.raises(LearnerError, match="is no Node class"):
        program(f"{path}:__name__")


# ------------------------------------------------------------------------------------------------ runs


def test_a_valid_run_prints_json_and_nothing_else_and_ends_with_0(capsys):
    status, out, err = run(capsys, "-w", "echo", "--bin", NODES / "echo.py", "--node-count", "2", "--json", *QUICK)
    found = json.loads(out)
    assert status == 0 and found["valid"] is True and "clients" in err
    assert found["setting"]["seed"] == 3 and found["setting"]["nodes"] == ["n0", "n1"]
    assert set(found["latency_ms"]["all"]) == {"0.5", "0.95", "0.99", "1"}
    assert set(found["net"]) == {"all", "clients", "servers"}
    assert found["stats"]["by_kind"]["echo"]["ok"] == found["stats"]["ok"] > 10


def test_an_invalid_run_says_why_and_ends_with_1(capsys):
    words = ("-w", "unique-ids", "--bin", NODES / "ids.py", "--node-count", "2", *QUICK, "--", "counter")
    status, out, _ = run(capsys, *words)
    assert status == 1 and out.rstrip().endswith("INVALID.")
    assert "duplicate id: the id 0 was handed out 2 times" in out and "per operation" in out


def test_a_run_without_operations_is_unknown_and_ends_with_2(capsys):
    words = ("-w", "lin-kv", "--bin", NODES / "store.py", "--node-count", "1", *QUICK, "--rate", "0")
    status, out, _ = run(capsys, *words)
    assert status == 2 and "Unknown" in out


def test_a_learners_class_is_run_and_kept(capsys, tmp_path):
    words = ("-w", "broadcast", "--bin", f"{NODES / 'gossip.py'}:SavesAll", "--node-count", "3", "--json", *QUICK)
    faults = ("--nemesis", "kill,partition", "--nemesis-interval", "0.4", "--p-loss", "0.1", "--p-duplicate", "0.1")
    status, out, _ = run(capsys, *words, *faults, "--time-limit", "2", "--store", tmp_path / "kept")
    found = json.loads(out)
    assert status == 0, found
    assert {stroke["what"] for stroke in found["nemesis"]} >= {"kill", "restart", "partition", "heal"}
    assert json.loads((tmp_path / "kept/results.json").read_text())["valid"] is True
    lines = (tmp_path / "kept/history.jsonl").read_text().splitlines()
    assert len(lines) == found["stats"]["count"] and json.loads(lines[0])["kind"] in ("read", "broadcast")
    assert {path.name for path in (tmp_path / "kept/node-logs").iterdir()} == {"n0.log", "n1.log", "n2.log"}


def test_what_nodes_write_to_standard_error_is_shown_on_request(capsys):
    words = ("-w", "echo", "--bin", NODES / "echo.py", "--nodes", "a", "--log-stderr", *QUICK, "--", "dies")
    status, out, err = run(capsys, *words)
    assert status == 1 and "a: these are my last words" in err
    assert "a has ended by itself, with exit status 3." in out


def test_a_missing_program_is_an_error_in_words_or_json_and_ends_with_2(capsys):
    with pytest.raises(SetupError, match="cannot be started"):
        run(capsys, "-w", "echo", "--bin", "no/such/program")
    status, out, _ = run(capsys, "-w", "echo", "--bin", "no/such/program", "--json")
    assert status == 2 and json.loads(out)["valid"] == "unknown" and json.loads(out)["error"]["do"]


def test_the_command_line_passes_everything_on(monkeypatch):
    seen = []
    monkeypatch.setattr(environment, "enter", lambda argv, **needs: None)
    monkeypatch.setattr(command, "main", lambda words: seen.append(words) or 2)
    words = ["maelstrom", "run", "-w", "echo", "--bin", "x", "--json", "--", "--help", "-v"]
    assert cli.main(words) == 2 and seen == [words[1:]]
