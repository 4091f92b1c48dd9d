"""Publish a bundle on the hub, as a model repository that loads as it is and a dataset that shows its pictures. Dry by default.

Reads   a complete bundle and every picture that its tables name
Writes  both cards and what else is made for the release, for reading, to --out; with --upload one commit to each repository

    python -m precompute.publish --bundle BUNDLE --repo owner/name              # look at it first
    python -m precompute.publish --bundle BUNDLE --repo owner/name --upload     # then send it
    python app.py --bundle hf://owner/name@COMMIT                               # what the last line names

The token is the one of ``hf auth login``, or HF_TOKEN. Interrupted or refused half way, nothing is half on the hub: the same
command goes on, and what was sent already is not sent again.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from aad.attribution import Attributor
from aad.bundle import Bundle, BundleError, write_atomically
from aad.hub import SCHEME, is_repository, open_bundle
from precompute.common.cli import run_step, step_parser
from precompute.publishing import cards, facts
from precompute.publishing.release import File, dataset_files, model_files, read_contents, size
from precompute.publishing.upload import upload

CARD = "README.md"
CROWDED = 10_000  # files in one folder; the hub shows and serves more of them badly


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__, reads_only=True)
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="of both repositories")
    parser.add_argument("--upload", action="store_true", help="send it; without this nothing leaves this machine")
    parser.add_argument("--private", action="store_true", help="new repositories are closed to others")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to commit to, made when missing (default: main)")
    parser.add_argument("--licence", default="apache-2.0", help="that you put heads, arrays and tables under")
    parser.add_argument("--code", default="", metavar="URL", help="address of the code, named on the model card")
    parser.add_argument(
        "--out", type=Path, help="where cards and tables are written (default: .work/publish in the bundle)"
    )
    parser.add_argument(
        "--i-have-the-rights",
        action="store_true",
        help="upload pictures whose licence is not stated: you say that you may pass them on",
    )
    arguments = parser.parse_args(argv)
    if not is_repository(arguments.repo):
        parser.error(f"--repo must be owner/name as the hub allows it, got {arguments.repo!r}")
    bundle = open_bundle(arguments.bundle)
    Attributor(bundle)  # what does not load here is not published
    contents = read_contents(bundle)
    model, dataset = model_files(contents), dataset_files(contents)
    manifest = model["manifest.json"]
    assert isinstance(manifest, bytes)
    stamp = hashlib.sha256(manifest).hexdigest()[:12]
    named = cards.Named(arguments.repo, arguments.licence, arguments.code, stamp)
    model[CARD] = cards.model_card(contents, named).encode()
    dataset[CARD] = cards.dataset_card(contents, named).encode()
    release = {"dataset": dataset, "model": model}  # the model last: what it points to is there
    out = arguments.out or bundle.folder / ".work" / "publish"
    for kind, files in release.items():
        print(f"{kind} repository {arguments.repo}\n{facts.files_table(files)}\n")
        _write_made(files, out / kind)
    print(
        f"{contents.licence_table()}\n\nto read: both cards, what else was made, and every file with its size, in {out}"
    )
    for warning in (warnings := _warnings(release, contents.unstated, bundle)):
        print(f"warning: {warning}")
    if not arguments.upload:
        print("nothing was sent" + ("; settle the warnings, then" if warnings else ";") + " send it with --upload")
        return
    if contents.unstated and not arguments.i_have_the_rights:
        raise BundleError(
            f"{len(contents.unstated)} pictures have no licence, so they are not uploaded: state it in metadata.csv (see "
            "precompute/README.md) and build the bundle again, or say with --i-have-the-rights that you may pass them on"
        )
    commits = upload(arguments.repo, release, private=arguments.private, branch=arguments.revision)
    print(f"published: dataset at commit {commits['dataset']}, model at commit {commits['model']}")
    print(f"load it with: python app.py --bundle {SCHEME}{arguments.repo}@{commits['model']}")


def _write_made(files: dict[str, File], folder: Path) -> None:
    """Write what was made for the release, and a list of all files; the rest of them lies in the bundle already."""
    for name, file in files.items():
        if isinstance(file, bytes):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, file)
    listed = "".join(f"{size(file):>13,}  {name}\n" for name, file in files.items())
    write_atomically(folder.with_name(f"{folder.name}_files.txt"), listed.encode())


def _warnings(release: dict[str, dict[str, File]], unstated: list[str], bundle: Bundle) -> list[str]:
    found = []
    if unstated:
        found.append(f"{len(unstated)} pictures have no stated licence, {unstated[0]} the first")
    for kind, files in release.items():
        folders: dict[str, int] = {}
        for name in files:
            folders[name.rpartition("/")[0]] = folders.get(name.rpartition("/")[0], 0) + 1
        for folder, n in folders.items():
            if n > CROWDED:
                found.append(f"{kind}: {n:,} files in {folder}, the hub advises at most {CROWDED:,} in one folder")
    for step, told in bundle.manifest["steps"].items():
        if re.search(r"(?:^|[\s'\"=])(?:~|/|[A-Za-z]:\\)[\w.-]+[/\\]", told.get("command", "")):
            found.append(f"the command of {step} names a folder of this machine, and is published: {told['command']}")
    return found


if __name__ == "__main__":
    run_step(main)
