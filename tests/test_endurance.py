"""One command runs every long check; the checks themselves have tests of their own."""

import subprocess
from pathlib import Path

import pytest

from tests.endurance import __main__ as command


def test_every_check_runs_once_and_one_fault_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def run(arguments: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(arguments[3:])
        return subprocess.CompletedProcess(arguments, int("server" in arguments))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("sys.argv", ["endurance", "all", "--json", str(tmp_path / "new")])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 1 and "faults in: server\n" in capsys.readouterr().out
    assert asked == [[name, "--json", str(tmp_path / "new" / f"endurance_{name}.json")] for name in command.CHECKS]
    assert (tmp_path / "new").is_dir()  # not found missing after hours
    monkeypatch.setattr(command, "CHECKS", {"images": ""})
    assert command.run_all(None) == 0 and asked[-1] == ["images"]
