"""The two cards. Every figure on them is read from the bundle; tables of measurements are printed by the steps that measured."""

from dataclasses import dataclass
from typing import Any

from aad.hub import PICTURES, SCHEME
from precompute.publishing import facts, licences
from precompute.publishing.release import Contents, splits

ARXIV = "2601.22663"
TAGS = ["image-attribution", "image-retrieval", "data-attribution", "contrastive-learning"]
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

MODEL = """---
{front}
---
# {name}: heads and index for synthetic image attribution

Given a synthetic image, which pictures of a collection does it most likely stem from? This bundle answers for **{n} pictures**,
in three spaces: features of a frozen backbone, the same *aligned* between real and synthetic images, and *disentangled*. It
holds two heads fitted without pairs, the index of the collection in each space, and the pictures. The dataset of the same name,
[{repository}]({hub}/datasets/{repository}), shows those.

## Load it

With a checkout{code}:

```python
from aad import Attributor

attributor = Attributor.load("{address}")  # prints the commit; "{address}@COMMIT" stays with it
attributor.attribute("picture.png", k=10)["disentangled"].matches
```

```
python app.py --bundle {address}
```

Every file is checked against `checksums.json`. A pinned commit opens offline once it was loaded.

## What is in it

{holds}

## What the heads are fitted on

{training}

Both are linear maps of the backbone's features. The aligned head is fitted by contrast between views of one image, within each
domain; the disentangled head adds an Infomax term. Neither is told which synthetic image came from which picture.

## Measured

{measured}

## Intended use, and limits

For tracing an image back to pictures it may stem from, for study, for crediting, for a first look.

- **Closeness is evidence, not proof**, that a generator was trained on a picture or used it.
- Only the {n} references are searched. What no reference explains is the remainder, "none of these".
- Figures hold for images like those measured. A generator, a style or a kind of picture far from them may rank differently.
- Attribution weights are calibrated on: {calibrated}. Elsewhere read them as an order of magnitude.
- Not for identifying people, and not as the only ground for a claim against anyone.

## Licences

Heads, arrays and tables: {licence}. The backbone's weights are not in here; their licence: {weights_licence}. The pictures in
`{pictures}/` are apart from that:

{licences}

## Method

Liu, Chen, Sun, Liu and Zhang, *Unsupervised Synthetic Image Attribution: Alignment and Disentanglement*,
[arXiv:{arxiv}](https://arxiv.org/abs/{arxiv}). An independent implementation from the paper's abstract, not the authors' own.
"""

DATASET = """---
{front}
---
# {name}: pictures, and synthetic images made from them

The pictures of the bundle [{repository}]({hub}/{repository}), for looking at and for other work. The bundle loads without this
dataset.

{contents}

```python
from datasets import load_dataset

references = load_dataset("{repository}", "references")
```

## Columns

- `references`: `image`, `title`, `source`, `licence`, `author`, `url`, `concept`, `group`, `split`.
- `queries`: `image`, `type`, `generator`, `concept`, `split`, `exemplars` (files of the references it was made from; empty where
  that is not known), `recipe` (how it was made, as JSON), `licence`, `title`, `source`, `author`, `url`.

An empty text means that it is not known. Splits are the bundle's: where it has them, heads are fitted on `train`, settings and
calibration chosen on `validation`, figures taken on `test`.

## Queries by type and generator

{generators}

## Sources of the references

{sources}

## Licences

{licences}

Closeness to a picture is evidence, not proof, that a generator was trained on it.
"""


@dataclass(frozen=True, slots=True)
class Named:
    """What a card has to be told, since no bundle knows it.

    Attributes:
        repository: ``owner/name`` of both repositories.
        licence: what the publisher puts heads, arrays and tables under.
        code: address of the code; empty when it has none to name.
        stamp: twelve characters that the app shows for this very manifest.
    """

    repository: str
    licence: str
    code: str
    stamp: str


def model_card(contents: Contents, named: Named) -> str:
    """README.md of the model repository."""
    from huggingface_hub import ModelCardData

    manifest = contents.bundle.manifest
    backbone, steps = manifest["backbone"], manifest["steps"]
    front: dict[str, Any] = {
        **licences.for_card([named.licence, *(row["licence"] for row in contents.rows)]),
        "library_name": "aad",
        "pipeline_tag": "image-feature-extraction",
        "datasets": [named.repository],
        "tags": [*TAGS, f"arxiv:{ARXIV}"],
    }
    holds = {
        "backbone": f"{backbone['name']}, {backbone['dim']} dimensions",
        "its weights": backbone.get("weights", ""),
        "their licence": backbone.get("licence", ""),
        "their sha256": f"`{backbone['sha256']}`" if backbone.get("sha256") else "",
        "references": len(contents.references),
        "bundled queries": len(contents.queries),
        "bundle, as the app stamps its answers": f"`{named.stamp}`",
    }
    return MODEL.format(
        **_common(contents, named),
        front=ModelCardData(**front).to_yaml(),
        n=f"{len(contents.references):,}",
        address=SCHEME + named.repository,
        code=f" of [the code]({named.code})" if named.code else "",
        holds=facts.table(holds),
        training=facts.table(facts.training(steps.get("train_heads", {}))),
        measured=facts.measured(contents.bundle),
        calibrated=steps.get("calibrate", {}).get("origin", "not stated"),
        licence=named.licence,
        weights_licence=backbone.get("licence", "not stated"),
        pictures=PICTURES,
        arxiv=ARXIV,
    )


def dataset_card(contents: Contents, named: Named) -> str:
    """README.md of the dataset repository, with the front matter by which the hub's viewer finds tables and splits."""
    from huggingface_hub import DatasetCardData

    tables = {
        name: splits(rows)
        for name, rows in (("references", contents.references), ("queries", contents.queries))
        if rows
    }
    front: dict[str, Any] = {
        **licences.for_card(row["licence"] for row in contents.rows),
        "pretty_name": f"{contents.bundle.manifest['name']}: references and synthetic queries",
        "size_categories": [next((name for limit, name in SIZES if len(contents.rows) < limit), "1M<n<10M")],
        "task_categories": ["image-feature-extraction"],
        "tags": TAGS,
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": f"{name}/{split}/**"} for split in counts],
            }
            for name, counts in tables.items()
        ],
    }
    made = (f"{row['type']}, {row.get('generator') or 'generator not stated'}" for row in contents.queries)
    return DATASET.format(
        **_common(contents, named),
        front=DatasetCardData(**front).to_yaml(),
        contents=facts.split_table(tables),
        generators=facts.counted(made),
        sources=facts.counted(row.get("source") or "not stated" for row in contents.references),
    )


def _common(contents: Contents, named: Named) -> dict[str, str]:
    from huggingface_hub import constants

    return {
        "name": contents.bundle.manifest["name"],
        "repository": named.repository,
        "hub": constants.ENDPOINT,
        "licences": f"{contents.licence_table()}\n\nHow to credit single pictures: [LICENSE.md](LICENSE.md).",
    }
