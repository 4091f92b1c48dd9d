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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aad.attribution import Attributor
from aad.bundle import Bundle, BundleError, write_atomically
from aad.hub import REPOSITORY, SCHEME, open_bundle
from precompute.common.cli import run_step, step_parser
from precompute.publishing.cards import dataset_card, model_card
from precompute.publishing.release import File, dataset_files, model_files, read_contents, size

CARD = "README.md"
KEPT = {".gitattributes"}  # the hub's own


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    add = parser.add_argument
    add("--repo", required=True, metavar="OWNER/NAME", help="of both repositories")
    add("--upload", action="store_true", help="send it; without this nothing leaves this machine")
    add("--private", action="store_true", help="new repositories are closed to others")
    add("--licence", default="apache-2.0", help="that you put heads, arrays and tables under")
    add("--out", type=Path, help="where cards and tables are written (default: .work/publish in the bundle)")
    arguments = parser.parse_args(argv)
    if not REPOSITORY.fullmatch(arguments.repo):
        parser.error(f"--repo must be owner/name as the hub allows it, got {arguments.repo!r}")
    bundle = open_bundle(arguments.bundle)
    Attributor(bundle)  # what does not load here is not published
    contents = read_contents(bundle)
    model, dataset = model_files(contents), dataset_files(contents)
    manifest = model["manifest.json"]
    assert isinstance(manifest, bytes)
    stamp = hashlib.sha256(manifest).hexdigest()[:12]
    model[CARD] = model_card(contents, arguments.repo, arguments.licence, stamp)
    dataset[CARD] = dataset_card(contents, arguments.repo)
    release = {"dataset": dataset, "model": model}  # the model last: what it points to is there
    out = arguments.out or bundle.folder / ".work" / "publish"
    for kind, files in release.items():
        print(f"{kind} repository {arguments.repo}: {len(files):,} files, {sum(map(size, files.values())):,} bytes")
        _write_made(files, out / kind)
    print(
        f"{contents.licence_table()}\n\nto read: both cards, what else was made, and every file with its size, in {out}"
    )
    for warning in (warnings := _warnings(contents.unstated, bundle)):
        print(f"warning: {warning}")
    if not arguments.upload:
        print("nothing was sent" + ("; settle the warnings, then" if warnings else ";") + " send it with --upload")
        return
    if contents.unstated:
        raise BundleError(
            f"{len(contents.unstated)} pictures have no licence, so they are not uploaded: state it in metadata.csv (see "
            "precompute/README.md) and build the bundle again"
        )
    commits = _upload(arguments.repo, release, arguments.private)
    print(f"published: dataset at commit {commits['dataset']}, model at commit {commits['model']}")
    print(f"load it with: python app.py --bundle {SCHEME}{arguments.repo}@{commits['model']}")


def _write_made(files: Mapping[str, File], folder: Path) -> None:
    """Write what was made for the release, and a list of all files; the rest of them lies in the bundle already."""
    listed = "".join(f"{size(file):>13,}  {name}\n" for name, file in files.items()).encode()
    made = {name: file for name, file in files.items() if isinstance(file, bytes)}
    for name, data in (made | {f"../{folder.name}_files.txt": listed}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, data)


def _warnings(unstated: list[str], bundle: Bundle) -> list[str]:
    found = [f"{len(unstated)} pictures have no stated licence, {unstated[0]} the first"] if unstated else []
    for step, told in bundle.manifest["steps"].items():
        if re.search(r"(?:^|[\s'\"=])(?:~|/|[A-Za-z]:\\)[\w.-]+[/\\]", told.get("command", "")):
            found.append(f"the command of {step} names a folder of this machine, and is published: {told['command']}")
    return found


def _upload(repository: str, release: Mapping[str, Mapping[str, File]], private: bool) -> dict[str, str]:
    """Make the repositories where they are missing and commit to each what it is to hold, and nothing else.

    One commit per repository, so that a reader meets the old release or the new one, never a mixture. Large files go first and are
    kept by the hub even when the line breaks: a second run sends only what is missing. A repository that holds the same already is
    left as it is. Returns the commits by kind of repository.
    """
    from httpx2 import HTTPError  # what huggingface_hub speaks with
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
    from huggingface_hub.errors import LocalTokenNotFoundError

    api, done, user = HfApi(library_name="aad"), dict[str, str](), ""
    try:
        user = api.whoami()["name"]
        for kind, files in release.items():
            place: dict[str, Any] = {"repo_id": repository, "repo_type": kind}
            api.create_repo(**place, private=private or None, exist_ok=True)
            old = set(api.list_repo_files(**place)) - set(files) - KEPT
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                *(CommitOperationDelete(name) for name in sorted(old)),
                *(CommitOperationAdd(name, str(f) if isinstance(f, Path) else f) for name, f in files.items()),
            ]
            message = f"Publish {len(files)} files"
            done[kind] = api.create_commit(**place, operations=operations, commit_message=message, num_threads=8).oid
    except LocalTokenNotFoundError as error:
        raise BundleError(
            "not logged in: run  hf auth login  with a token that may write, or set HF_TOKEN to one"
        ) from error
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        if constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set: unset it to publish"
        elif getattr(getattr(error, "response", None), "status_code", None) in (401, 403, 404):
            who = user or "this token"
            why = f"{who} may not write there: log in again with  hf auth login, or set HF_TOKEN to a token that may"
        else:
            causes = [str(cause).strip().splitlines()[0] for cause in (error, error.__cause__) if cause and str(cause)]
            why = f"the hub at {constants.ENDPOINT} did not take it ({': '.join(causes)})"
        held = "".join(f"; the {kind} repository is done, at commit {commit}" for kind, commit in done.items())
        again = f"{held}; nothing is half: run the same command again to go on" if user else ""
        raise BundleError(f"{repository} was not published: {why}{again}") from error
    return done


if __name__ == "__main__":
    run_step(main)
