"""The way to the hub: one commit per repository, so that a reader meets the old release or the new one, never a mixture."""

from collections.abc import Mapping
from pathlib import Path

from aad.bundle import BundleError
from precompute.publishing.release import File

KEPT = {".gitattributes"}  # the hub's own


def upload(
    repository: str, files: Mapping[str, Mapping[str, File]], *, private: bool, branch: str | None
) -> dict[str, str]:
    """Make the repositories where they are missing and commit to each what it is to hold, and nothing else.

    Large files go first and are kept by the hub even when the line breaks: a second run sends only what is missing. A repository
    that holds the same already is left as it is.

    Args:
        repository: ``owner/name``.
        files: kind of repository ("dataset", "model") to its files, in the order of the commits.
        private: whether a new repository is closed to others; one that exists stays as it is.
        branch: made when missing; None is the main branch.

    Returns:
        Kind to the commit that holds the release.

    Raises:
        BundleError: not logged in, not allowed, out of reach, or refused; names what is done already.
    """
    from httpx2 import HTTPError  # what huggingface_hub speaks with
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
    from huggingface_hub.errors import LocalTokenNotFoundError

    api = HfApi(library_name="aad")
    done: dict[str, str] = {}
    user = "nobody"
    try:
        user = api.whoami()["name"]
        for kind, wanted in files.items():
            api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=True)
            if branch:
                api.create_branch(repository, repo_type=kind, branch=branch, exist_ok=True)
            there = api.list_repo_files(repository, repo_type=kind, revision=branch)
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                CommitOperationAdd(name, str(file) if isinstance(file, Path) else file) for name, file in wanted.items()
            ]
            operations += [CommitOperationDelete(name) for name in there if name not in wanted and name not in KEPT]
            message = f"Publish {len(wanted)} files"
            commit = api.create_commit(
                repository, operations, commit_message=message, repo_type=kind, revision=branch, num_threads=8
            )
            done[kind] = commit.oid
    except LocalTokenNotFoundError as error:
        raise BundleError(
            "not logged in: run  hf auth login  with a token that may write, or set HF_TOKEN to one"
        ) from error
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        held = "".join(f"; the {kind} repository is done, at commit {commit}" for kind, commit in done.items())
        again = f"{held}; nothing is half: run the same command again to go on" if user != "nobody" else ""
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401 and user == "nobody":
            why = "the hub does not know this token: log in again with  hf auth login, or set HF_TOKEN to a valid one"
        elif status in (401, 403, 404):
            why = f"{user} may not write to {repository}: take a token with the right to write, and a name of yours"
        elif constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set: unset it to publish"
        else:
            causes = [str(cause).strip().splitlines()[0] for cause in (error, error.__cause__) if cause and str(cause)]
            why = f"the hub at {constants.ENDPOINT} did not take it ({': '.join(causes)})"
        raise BundleError(f"{repository} was not published: {why}{again}") from error
    return done
