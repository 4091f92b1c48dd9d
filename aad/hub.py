"""Bundles from the hub: ``hf://owner/name@revision`` becomes a folder of checked files on this machine.

The hub's own cache keeps what is downloaded, so its tools list and delete it. A snapshot there is a tree of links into a store
that other repositories share; the app may serve a folder only when nothing else can be reached through it. So each snapshot is
checked once against the checksums it was published with, and then laid out beside itself as plain files (hard links, no second
copy):

    models--owner--name/snapshots/COMMIT/     the hub's, links
    models--owner--name/aad/COMMIT/           ours, plain files; it exists only when every file was as published

A pinned revision that is laid out needs no network, and none is asked for.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from aad.bundle import CHECKED, Bundle, BundleError, safe_paths
from aad.files import file_sha256
from aad.schema import parse_json

SCHEME = "hf://"
CHECKSUMS = "checksums.json"
PICTURES = "pictures"
FORMAT = 1
# All that a bundle has. What else a repository may hold, pickles among it, never reaches this machine.
WANTED = ["*.json", "*.npy", "*.safetensors", "*.md", f"{PICTURES}/*"]
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REPOSITORY = re.compile(rf"{_NAME}/{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHOWN = 5  # files named in an error; the rest are counted


def open_bundle(place: str | Path | None = None) -> Bundle:
    """A bundle wherever it is: a folder, ``hf://owner/name@revision``, or None for the one that ships with the project.

    Raises:
        BundleError: see ``local_bundle`` and ``Bundle.open``.
    """
    address = None if place is None else hub_address(place)
    return Bundle.open(local_bundle(address) if address else place)


def hub_address(folder: str | Path) -> str | None:
    """The ``hf://`` address that a text or a path means, or None; a ``Path`` has made one slash of two."""
    text = folder.as_posix() if isinstance(folder, Path) else folder
    if not text.startswith("hf:/"):
        return None
    return SCHEME + text.removeprefix("hf:").removeprefix("/").removeprefix("/")


def parse_address(address: str) -> tuple[str, str | None]:
    """Repository and revision of an address; no revision is None.

    Raises:
        BundleError: another form; the text shows the right one.

    Example:
        >>> parse_address("hf://owner/name@v1")
        ('owner/name', 'v1')
        >>> parse_address("hf://owner/name")
        ('owner/name', None)
    """
    repository, at, revision = address.removeprefix(SCHEME).partition("@")
    form = f"{SCHEME}owner/name or {SCHEME}owner/name@revision"
    if not address.startswith(SCHEME) or not is_repository(repository):
        raise BundleError(
            f"a bundle on the hub is named {form}, got {address!r}; both names start and end with a letter or digit"
        )
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise BundleError(
            f"a revision is a branch, a tag or a commit, got {revision!r} in {address!r}; write {form}, "
            "or nothing after the name for the newest"
        )
    return repository, revision or None


def is_repository(name: str) -> bool:
    """Whether a text is ``owner/name`` as the hub allows it."""
    return bool(_REPOSITORY.fullmatch(name)) and "--" not in name and ".." not in name and not name.endswith(".git")


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
    from huggingface_hub import constants

    repository, revision = parse_address(address)
    cached = Path(constants.HF_HUB_CACHE) / "--".join(["models", *repository.split("/")])
    commit = revision if revision and _COMMIT.fullmatch(revision) else _commit(repository, revision)
    checked = cached / CHECKED / commit
    if not checked.is_dir():
        snapshot = cached / "snapshots" / commit
        if not _is_complete(snapshot):
            _download(repository, commit)
        _lay_out(f"{SCHEME}{repository}@{commit}", snapshot, checked)
    return checked


def _commit(repository: str, revision: str | None) -> str:
    from httpx2 import HTTPError  # what huggingface_hub speaks with
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    address = SCHEME + repository + (f"@{revision}" if revision else "")
    try:
        commit = HfApi(library_name="aad").resolve_revision(repository, revision=revision).resolved
    except (HTTPError, OSError, RevisionResolutionError) as error:
        raise _explained(error, address) from error
    print(f"{address} is commit {commit}; to stay with it: {SCHEME}{repository}@{commit}", file=sys.stderr)
    return commit


def _download(repository: str, commit: str) -> None:
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, XetDownloadError

    try:
        HfApi(library_name="aad").model_info(repository, revision=commit, timeout=10)  # fails at once, without retries
        hf_hub_download(repository, CHECKSUMS, revision=commit)  # before the rest: is it a bundle at all?
        snapshot_download(repository, revision=commit, allow_patterns=WANTED, library_name="aad")
    except (HTTPError, OSError, EntryNotFoundError, XetDownloadError) as error:
        raise _explained(error, f"{SCHEME}{repository}@{commit}") from error


def _is_complete(snapshot: Path) -> bool:
    try:
        return all((snapshot / name).is_file() for name in _listing(snapshot))
    except (OSError, BundleError):
        return False


def _listing(snapshot: Path) -> dict[str, dict[str, Any]]:
    """What checksums.json says of each file, by name."""
    try:
        listing = parse_json((snapshot / CHECKSUMS).read_bytes())
        if listing["format"] != FORMAT:
            raise ValueError(f"format {listing['format']}")
        files = listing["files"].items()
        told = {name: {"sha256": str(entry["sha256"]), "bytes": int(entry["bytes"])} for name, entry in files}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{snapshot / CHECKSUMS} is not a list of checksums in format {FORMAT} ({error}); delete {snapshot.parent.parent} and "
            "load it again, or publish it again with this version"
        ) from None
    safe_paths(snapshot, told)
    return told


def _lay_out(address: str, snapshot: Path, checked: Path) -> None:
    """Check every file of a snapshot and link it into ``checked``, which appears whole or not at all."""
    from tqdm import tqdm

    listing = _listing(snapshot)
    _check_contents(address, snapshot, listing)
    partial = checked.with_name(f".{checked.name}.{os.getpid()}.partial")
    wrong = []
    try:
        for name, entry in tqdm(listing.items(), desc="checking", unit="file", disable=None):
            source, target = (snapshot / name).resolve(), partial / name
            told = (entry["bytes"], entry["sha256"])
            if not source.is_file() or (source.stat().st_size, file_sha256(source)) != told:
                wrong.append(name)
            if not wrong:
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(source, target)
        if wrong:
            raise BundleError(
                f"{len(wrong)} of the {len(listing)} files of {address} are missing or not as published: {_some(wrong)}; "
                f"delete {snapshot.parent.parent} and load it again; if that does not help, the copy on the hub is damaged: "
                "publish it again"
            )
        try:
            partial.rename(checked)
        except OSError:
            if not checked.is_dir():  # else another process was faster, with the same files
                raise
    except OSError as error:
        raise BundleError(
            f"cannot write to the hub's cache at {checked.parent}: {error}; free some space, or set HF_HOME to another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_contents(address: str, snapshot: Path, listing: dict[str, Any]) -> None:
    """A bundle of a stranger must be whole, and must name no file outside itself: the app serves what it names."""
    try:
        manifest = parse_json((snapshot / "manifest.json").read_bytes())
        images = manifest["images"]
        safe_paths(snapshot, [images])
        tables = [parse_json((snapshot / name).read_bytes()) for name in ("references.json", "queries.json")]
        named = [f"{images}/{entry['path']}" for table in tables for entry in table] + list(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{address} is no whole bundle ({type(error).__name__}: {error}): its manifest, or one of its two tables, is missing "
            f"or damaged; delete {snapshot.parent.parent} and load it again, or publish it again"
        ) from None
    missing = sorted({name for name in named if name not in listing})
    if missing:
        raise BundleError(
            f"{address} names {len(missing)} files that it does not hold: {_some(missing)}; publish it again with: "
            "python -m precompute.publish"
        )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _explained(error: BaseException, address: str) -> BundleError:
    """The hub's error in words: what was wanted, what came, what to do."""
    from huggingface_hub import constants, errors

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    answered = next((cause for cause in causes if isinstance(cause, errors.HfHubHTTPError)), None)
    status = answered.response.status_code if answered else None
    repository = address.removeprefix(SCHEME).partition("@")[0]
    log_in = "log in with: hf auth login  (or set HF_TOKEN to a token that may read it)"
    if isinstance(answered, errors.GatedRepoError):
        return BundleError(f"{address} is gated: ask for access at {constants.ENDPOINT}/{repository}, then {log_in}")
    if isinstance(answered, errors.RepositoryNotFoundError) or status in (401, 403):
        return BundleError(
            f"{address}: {constants.ENDPOINT} has no model repository {repository}, or it is private and not open to you; "
            f"check the name, and for a private one {log_in}"
        )
    if isinstance(answered, errors.RevisionNotFoundError):
        return BundleError(
            f"{address}: {repository} is there, that revision is not; leave out @... for the newest, or take one from "
            f"{constants.ENDPOINT}/{repository}/commits/main"
        )
    if isinstance(answered, errors.RemoteEntryNotFoundError):
        return BundleError(
            f"{address} is no bundle: it has no {CHECKSUMS}; a bundle is published with: python -m precompute.publish"
        )
    if answered is None and type(error) is OSError:
        return BundleError(
            f"{address} could not be kept in {constants.HF_HUB_CACHE}: {error}; free some space, or set HF_HOME to another folder"
        )
    if constants.HF_HUB_OFFLINE:
        reason = "HF_HUB_OFFLINE is set, so the hub was not asked"
    elif answered is not None:
        reason = f"the hub at {constants.ENDPOINT} answered with status {status}"
    else:
        reason = f"the hub at {constants.ENDPOINT} could not be reached ({type(causes[-1]).__name__}: {causes[-1]})"
    return BundleError(
        f"{address} is not in the cache at {constants.HF_HUB_CACHE}, and {reason}; load it once while online, "
        "with HF_HUB_OFFLINE unset, and it will open offline from then on; or give a bundle folder on this machine"
    )
