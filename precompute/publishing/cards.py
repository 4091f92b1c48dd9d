"""The two cards, of the templates beside this file. Every figure is read from the bundle, none is typed by hand.

Tables of measurements are those of the steps that measured.
"""

from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from aad.bundle import Bundle
from aad.hub import PICTURES, SCHEME
from aad.spaces import SPACES
from precompute.common.figures import markdown
from precompute.publishing.release import TABLES, Contents, for_card, splits

HERE = Path(__file__).parent
ARXIV = "2601.22663"
TAGS = ["image-attribution", "image-retrieval", "data-attribution", "contrastive-learning"]
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
MEASURES = (
    ("metrics.json", "evaluate", "On the bundled queries of the test split, per kind of query"),
    ("generalisation.json", "leave_out", "With each family of synthetic images left out of training in turn"),
)


def model_card(contents: Contents, repository: str, licence: str, stamp: str) -> bytes:
    """README.md of the model repository.

    Args:
        contents: what is published.
        repository: ``owner/name`` of both repositories.
        licence: what the publisher puts heads, arrays and tables under.
        stamp: twelve characters that the app shows for this very manifest.
    """
    from huggingface_hub import ModelCard, ModelCardData

    about = ModelCardData(
        **for_card([licence, *(row["licence"] for row in contents.rows)]),
        library_name="aad",
        pipeline_tag="image-feature-extraction",
        datasets=[repository],
        tags=[*TAGS, f"arxiv:{ARXIV}"],
    )
    return _written(
        ModelCard,
        about,
        contents,
        repository=repository,
        address=SCHEME + repository,
        stamp=stamp,
        measured=_measured(contents.bundle),
        licence=licence,
        pictures=PICTURES,
        arxiv=ARXIV,
    )


def dataset_card(contents: Contents, repository: str) -> bytes:
    """README.md of the dataset repository, with the front matter by which the hub's viewer finds tables and splits."""
    from huggingface_hub import DatasetCard, DatasetCardData

    tables = {name: splits(getattr(contents, name)) for name in TABLES if getattr(contents, name)}
    order = list(dict.fromkeys(split for counts in tables.values() for split in counts))
    about = DatasetCardData(
        **for_card(row["licence"] for row in contents.rows),
        pretty_name=f"{contents.bundle.manifest['name']}: references and synthetic queries",
        size_categories=[next((name for limit, name in SIZES if len(contents.rows) < limit), "1M<n<10M")],
        task_categories=["image-feature-extraction"],
        tags=TAGS,
        configs=[
            {"config_name": name, "data_files": [{"split": one, "path": f"{name}/{one}/**"} for one in counts]}
            for name, counts in tables.items()
        ],
    )
    shown = [[name, *(counts[one] for one in order), counts.total()] for name, counts in tables.items()]
    return _written(
        DatasetCard,
        about,
        contents,
        repository=repository,
        counts=markdown(["", *order, "all"], shown),
        generators=_counted(f"{q['type']}, {q.get('generator') or 'generator not stated'}" for q in contents.queries),
        sources=_counted(row.get("source") or "not stated" for row in contents.references),
    )


def _written(card: Any, about: Any, described: Contents, **told: Any) -> bytes:
    from huggingface_hub import constants

    path = str(HERE / f"{card.__name__.removesuffix('Card').lower()}_card.md")
    written = card.from_template(about, template_path=path, contents=described, hub=constants.ENDPOINT, **told)
    return f"{written}\n".encode()


def _measured(bundle: Bundle) -> str:
    """Every figure the bundle has of itself, or words that say it has none."""
    parts = [
        f"{heading} (`{name}`):\n\n{import_module(f'precompute.{step}').table(bundle.read_json(name))}"
        for name, step, heading in MEASURES
        if bundle.has(name)
    ]
    if not parts:
        return "Nothing was measured with this bundle: its queries have no known source, or `evaluate` was not run."
    error = bundle.read_json("metrics.json").get("calibration_error") if bundle.has("metrics.json") else None
    if error:
        told = ", ".join(f"{space} {error[space]:.2f}" for space in SPACES)
        parts.append(f"Expected calibration error of the weights: {told}.")
    if kept := bundle.manifest.get("neighbour_preservation"):
        told = ", ".join(f"{space} {kept[space]:.0%}" for space in SPACES)
        parts.append(f"Share of each reference's ten nearest neighbours that the maps keep: {told}.")
    parts.append(
        "R@k: share of a query's exemplars among the first k. MRR: mean reciprocal rank of the first one found."
    )
    return "\n\n".join(parts)


def _counted(values: Iterable[str]) -> str:
    """How often each value comes, the most frequent first."""
    counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return markdown(["", ""], counts) if counts else "None."
