"""Bundles from the hub: ``hf://owner/name@revision`` becomes a folder of checked files on this machine.

The hub's own cache keeps what is downloaded, as a tree of links; the app may serve a folder only when nothing else can be reached
through it. So each snapshot is checked once against the checksums it was published with, and laid out beside itself as plain files
(hard links, no second copy):

    models--owner--name/snapshots/COMMIT/     the hub's, links
    models--owner--name/aad/COMMIT/           ours, plain files; it exists only when every file was as published

A pinned revision that is laid out needs no network, and none is asked for.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from aad.bundle import CHECKED, Bundle, BundleError, safe_path
from aad.files import file_sha256
from aad.schema import parse_json

SCHEME = "hf://"
CHECKSUMS = "checksums.json"
PICTURES = "pictures"
FORMAT = 1
# All that a bundle has. What else a repository may hold, pickles among it, never reaches this machine.
WANTED = ["*.json", "*.npy", "*.safetensors", "*.csv", "*.md", f"{PICTURES}/*"]
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
REPOSITORY = re.compile(rf"(?!.*(?:--|\.\.|\.git$)){_NAME}/{_NAME}")
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./-]*", re.ASCII)
_PAGE = re.compile(  # of a repository, as it stands in a browser's line: it means the repository, and the revision that it shows
    r"(?i:https?:/+(?:www\.)?(?:huggingface|hf)\.co)/([^/?#]+/[^/?#]+)(?:/(?:tree|blob|resolve)/([^?#]*[^/?#]))?/?(?:[?#].*)?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def open_bundle(place: str | Path | None = None) -> Bundle:
    """A bundle wherever it is: a folder, ``hf://owner/name@revision``, or None for the one that ships with the project.

    Raises:
        BundleError: see ``local_bundle`` and ``Bundle.open``.
    """
    address = None if place is None else hub_address(place)
    return Bundle.open(local_bundle(address) if address else place)


def hub_address(folder: str | Path) -> str | None:
    """The ``hf://`` address that a text or a path means, or None for a folder; a ``Path`` has made one slash of two."""
    text = folder.as_posix() if isinstance(folder, Path) else folder
    if page := _PAGE.fullmatch(text):
        return SCHEME + "@".join(filter(None, page.groups()))
    return re.sub("^hf://?", SCHEME, text) if re.match(r"\w\w+:/", text) else None  # one letter is a drive


def parse_address(address: str) -> tuple[str, str | None]:
    """Repository and revision of an address; no revision is None.

    Raises:
        BundleError: another form; the text shows the right one.

    Example:
        >>> parse_address("hf://owner/name@v1"), parse_address("hf://owner/name")
        (('owner/name', 'v1'), ('owner/name', None))
    """
    repository, at, revision = address.removeprefix(SCHEME).partition("@")
    fits = address.startswith(SCHEME) and REPOSITORY.fullmatch(repository)
    if not fits or (at and not _REVISION.fullmatch(revision)):
        raise BundleError(
            f"a bundle on the hub is {SCHEME}owner/name, or {SCHEME}owner/name@revision for one branch, tag or commit, got "
            f"{address!r}; both names start and end with a letter or digit"
        )
    return repository, revision or None


def local_bundle(address: str) -> Path:
    """The folder of a bundle on the hub: downloaded where it is not yet, every file checked.

    Without a revision, or with a branch or tag, the commit it means now is asked for and printed, so that it can be pinned.
    The environment variables of huggingface_hub hold: HF_ENDPOINT, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE.

    Args:
        address: ``hf://owner/name`` or ``hf://owner/name@revision``.

    Returns:
        A folder that ``Bundle.open`` reads. Write nothing into it: it is part of the hub's cache.

    Raises:
        BundleError: malformed, not found, not allowed, out of reach, or not as published; the text says what to do.
    """
    repository, revision = parse_address(address)
    kept = _cached(repository) / CHECKED
    if revision and _COMMIT.fullmatch(revision) and (kept / revision).is_dir():
        return kept / revision
    snapshot = _snapshot(address, repository, revision)
    pinned, checked = f"{SCHEME}{repository}@{snapshot.name}", kept / snapshot.name
    if revision != snapshot.name:
        print(f"{address} is commit {snapshot.name}; to stay with it: {pinned}", file=sys.stderr)
    if not checked.is_dir():
        _lay_out(pinned, snapshot, checked)
    return checked


def _cached(repository: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / "--".join(["models", *repository.split("/")])


def _snapshot(address: str, repository: str, revision: str | None) -> Path:
    """The hub's own folder of one commit; what of it is in the cache already is not asked for again."""
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi(library_name="aad")
    try:
        commit = api.resolve_revision(repository, revision=revision).resolved
        if not (_cached(repository) / "snapshots" / commit / CHECKSUMS).is_file():
            api.model_info(repository, revision=commit, timeout=10)  # fails at once, a download tries again for long
        api.hf_hub_download(repository, CHECKSUMS, revision=commit)  # before the rest: is it a bundle at all?
        return Path(snapshot_download(repository, revision=commit, allow_patterns=WANTED, library_name="aad"))
    except Exception as error:  # of the network, the disk, the hub, and of what it is built on: nearly any
        raise _explained(error, address, repository) from error


def _lay_out(address: str, snapshot: Path, checked: Path) -> None:
    """Check every file of a snapshot and link it into ``checked``, which appears whole or not at all."""
    from tqdm import tqdm

    again = f"delete {snapshot.parent.parent} and load it again, or publish it again"
    listing = _listing(snapshot, again)
    shown = tqdm(listing.items(), desc="checking", unit="file", disable=None)
    if wrong := [one for one, sha256 in shown if not (path := snapshot / one).is_file() or file_sha256(path) != sha256]:
        raise BundleError(
            f"{len(wrong)} files of {address} are missing or not as published ({wrong[0]} first); {again}"
        )
    try:
        checked.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=checked.parent) as folder:
            for name in listing:
                source, target = (snapshot / name).resolve(), Path(folder, "whole", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(source, target)
                except OSError:  # another file system, or one without hard links
                    shutil.copyfile(source, target)
            Path(folder, "whole").rename(checked)
    except OSError as error:
        if not checked.is_dir():  # else another process was faster, with the same files
            raise BundleError(
                f"cannot write to the hub's cache at {checked.parent}: {error}; free some space, or set HF_HOME to another folder"
            ) from error


def _listing(snapshot: Path, again: str) -> dict[str, str]:
    """The sha256 of each file by checksums.json, after seeing that no file, and no picture, is outside the bundle.

    The app serves what a bundle names, and this one may be a stranger's.
    """
    try:
        told = parse_json((snapshot / CHECKSUMS).read_bytes())
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']}")
        listing = {name: str(entry["sha256"]) for name, entry in told["files"].items()}
        images = parse_json((snapshot / "manifest.json").read_bytes())["images"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{snapshot} is no bundle with checksums in format {FORMAT} ({type(error).__name__}: {error}); {again}"
        ) from None
    for name in (*listing, images):
        safe_path(name)
    return listing


def _explained(error: BaseException, address: str, repository: str) -> BundleError:
    """The hub's error in words: what was wanted, what came, what to do."""
    from huggingface_hub import constants, errors

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    answered = next((cause for cause in causes if isinstance(cause, errors.HfHubHTTPError)), None)
    is_closed = answered is not None and answered.response.status_code in (401, 403)
    hub, log_in = constants.ENDPOINT, "log in with: hf auth login  (or set HF_TOKEN to a token that may read it)"
    if isinstance(answered, errors.GatedRepoError):
        told = f"is gated: ask for access at {hub}/{repository}, then {log_in}"
    elif isinstance(answered, errors.RepositoryNotFoundError) or is_closed:
        told = f"is not open to you: {hub} has no model repository {repository}, or it is private; check the name, or {log_in}"
    elif isinstance(answered, errors.RevisionNotFoundError):
        told = f"is there, that revision is not; leave out @... for the newest, or see {hub}/{repository}/commits/main"
    elif isinstance(answered, errors.RemoteEntryNotFoundError):
        told = f"is no bundle: it has no {CHECKSUMS}; a bundle is published with: python -m precompute.publish"
    else:
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{hub}: {causes[-1]}"
        told = (
            f"is not in the cache at {constants.HF_HUB_CACHE}, and could not be had ({reason}); load it once while online, and "
            "it will open offline from then on; or give a bundle folder on this machine"
        )
    return BundleError(f"{address} {told}")
