"""Nothing runs code out of a file: no source reads a pickle, and a checkpoint with code in it is refused.

What reads pickles, YAML with objects or text as code ruff finds, see `pyproject.toml`; what hangs on its arguments is found here.
"""

import ast
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spoilt_bundles import Bomb

ROOT = Path(__file__).resolve().parents[1]


def unsafe(source: str) -> list[str]:
    """Calls that may read pickles, by their arguments."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    told = [(ast.unparse(call.func), {k.arg: getattr(k.value, "value", None) for k in call.keywords}) for call in calls]
    return [
        name
        for name, options in told
        if options.get("allow_pickle", False) is not False  # which is numpy's default
        or (name == "torch.load" and options.get("weights_only") is not True)
    ]


def test_no_source_reads_a_pickle_or_runs_what_a_file_says() -> None:
    for source in ("np.load(x, allow_pickle=True)", "torch.load(x)", "torch.load(x, weights_only=a)"):
        assert unsafe(source)
    assert not unsafe("torch.load(x, weights_only=True); np.load(x, allow_pickle=False)")
    parts = ("aad", "interface", "precompute", "benchmarks")
    files = [ROOT / "app.py", *(path for part in parts for path in (ROOT / part).rglob("*.py"))]
    assert len(files) > 90
    assert {path.name: found for path in files if (found := unsafe(path.read_text(encoding="utf-8")))} == {}


def test_ruff_finds_what_could_run_code() -> None:
    lines = [
        "import joblib", "import shelve; shelve.open('x')", "from pickle import loads; loads(b'')", "eval('1')", "exec('x')",
        "import pickle; pickle.Unpickler(f)", "import yaml; yaml.load(x)", "import faiss; faiss.read_index(x)",
        "from faiss import read_index", "import pandas as pd; pd.read_pickle(x)", "import torch; torch.jit.load(x)",
        "import marshal; marshal.loads(x)",
    ]  # fmt: skip
    told = ["--select", "S102,S301,S302,S307,S506,TID251", "--output-format=concise", "-"]
    command = [sys.executable, "-m", "ruff", "check", *told]
    run = subprocess.run(command, input="\n".join(lines), text=True, cwd=ROOT, capture_output=True)
    assert {int(row) for row in re.findall(r"^-:(\d+):", run.stdout, re.M)} == {*range(1, len(lines) + 1)}, run.stdout


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_a_checkpoint_of_abc_with_code_in_it_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from precompute.abc.files import load_entries, read_mapper
    from precompute.abc.splits import BenchmarkError

    mark = tmp_path / "exploded"
    torch.save({"real_mapper": Bomb(mark), "inv_tau": Bomb(mark)}, tmp_path / "zip.pth")
    torch.save({"inv_tau": Bomb(mark)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Bomb(mark)))
    (tmp_path / "named.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    for path in sorted(tmp_path.iterdir()):
        for read in (read_mapper, lambda path: load_entries(path, "LAION features", "feats")):
            with pytest.raises(BenchmarkError) as caught:
                read(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not mark.exists()
