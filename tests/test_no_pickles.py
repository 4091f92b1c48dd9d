"""Nothing runs code out of a file: no source reads a pickle, and a checkpoint with code in it is refused."""

import ast
import pickle
from pathlib import Path

import pytest

from tests.spoilt_bundles import Bomb

ROOT = Path(__file__).resolve().parents[1]


# Module -> what reads a pickle, or an index of faiss, under its bare name once it is imported from there.
PICKLES, INDEXES = {"load", "loads", "Unpickler"}, {"read_index", "read_index_binary", "deserialize_index"}
READERS = {"pickle": PICKLES, "_pickle": PICKLES, "faiss": INDEXES}


def unsafe(source: str) -> list[str]:
    """What in a source could run code out of a file: a reader of pickles, or of text as code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            banned = {"joblib", "shelve", "dill", "cloudpickle", "marshal", "jsonpickle"}
            found += [name for name in modules if name.split(".")[0] in banned]
            readers = READERS.get(str(getattr(node, "module", "")), set())
            found += sorted(readers & {alias.name for alias in node.names})
        if not isinstance(node, ast.Call):
            continue
        call, told_ = ast.unparse(node.func), {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        last = call.rsplit(".", 1)[-1]
        if call in ("eval", "exec", "compile", "builtins.eval", "builtins.exec"):
            found.append(call)
        if last in ("read_pickle", "Unpickler", "unsafe_load", "full_load") or (last in INDEXES and last != call):
            found.append(call)
        if told_.get("allow_pickle", False) is not False:  # which is numpy's default
            found.append(f"{call} with allow_pickle")
        if call == "torch.load" and told_.get("weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if call in ("pickle.load", "pickle.loads", "yaml.load", "torch.jit.load", "torch.hub.load", "faiss.load"):
            found.append(ast.unparse(node))
    return found


def test_what_could_run_code_is_seen() -> None:
    for source in (
        "import joblib", "from shelve import open", "from pickle import loads", "eval('1')", "exec(x)",
        "np.load(x, allow_pickle=True)", "np.save(x, y, allow_pickle=True)", "torch.load(x)", "torch.load(x, weights_only=False)",
        "pickle.loads(data)", "yaml.load(x)", "faiss.read_index(x)", "from faiss import read_index",
        "pd.read_pickle(x)", "torch.jit.load(x)", "pickle.Unpickler(f)",
    ):  # fmt: skip
        assert unsafe(source), source
    for source in (
        "model.eval()",
        "torch.load(x, weights_only=True)",
        "np.load(x, allow_pickle=False)",
        "import pickle",
        "read_index(folder)",  # of ours, a JSON file
    ):
        assert not unsafe(source), source


# An exception that was pickled in the same breath, to see whether a pool can carry it; and TorchScript where a release is one.
ALLOWED = {
    ("precompute/common/runners.py", "pickle.loads(pickle.dumps(error))"),
    ("aad/backbones/checkpoints.py", "torch.jit.load(str(path), map_location='cpu')"),
}


def test_no_source_reads_a_pickle_or_runs_what_a_file_says() -> None:
    files = [
        ROOT / "app.py",
        *(p for part in ("aad", "interface", "precompute", "benchmarks") for p in (ROOT / part).rglob("*.py")),
    ]
    assert len(files) > 100
    found = {
        (path.relative_to(ROOT).as_posix(), what) for path in files for what in unsafe(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_a_checkpoint_of_abc_with_code_in_it_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from precompute.abc.files import load_entries, read_calibrator, read_mapper
    from precompute.abc.splits import BenchmarkError

    mark = tmp_path / "exploded"
    torch.save({"real_mapper": Bomb(mark), "inv_tau": Bomb(mark)}, tmp_path / "zip.pth")
    torch.save({"inv_tau": Bomb(mark)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Bomb(mark)))
    (tmp_path / "named.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    for path in sorted(tmp_path.iterdir()):
        for read in (read_mapper, read_calibrator, lambda path: load_entries(path, "LAION features", "feats")):
            with pytest.raises(BenchmarkError) as caught:
                read(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not mark.exists()
