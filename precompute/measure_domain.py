"""After extract_features: how often the hint "looks like a plain photograph" is right. Prints a table, writes nothing.

Reads   the bundle: references, queries and their backbone features

The hint is fitted as the page fits it (`aad/domain.py`), on references and queries outside the test split; every share is of test
images. `unseen` is the same with that generator's queries left out of the fit as well, which is what a picture from somewhere
else meets.

    python -m precompute.measure_domain
"""

from collections.abc import Sequence

import numpy as np

from aad.bundle import Bundle
from aad.domain import DomainModel, fit_domain
from aad.hub import open_bundle
from aad.vectors import l2_normalise
from precompute.common.cli import run_step, step_parser


def main(argv: Sequence[str]) -> None:
    options = step_parser(__doc__, reads_only=True).parse_args(argv)
    print(table(measure(open_bundle(options.bundle))))


def measure(bundle: Bundle) -> list[dict[str, object]]:
    """Rows of `{"images", "n", "photograph", "unfamiliar", "unseen"}`: shares of test images; the first is the references.

    Empty where the bundle has too few images outside the test split. `unseen` is None for the references.
    """
    d = bundle.manifest["backbone"]["dim"]
    references, queries = bundle.read_json("references.json"), bundle.read_json("queries.json")
    real = l2_normalise(bundle.read_array("references_backbone.npy", (len(references), d)))
    synthetic = l2_normalise(bundle.read_array("queries_backbone.npy", (len(queries), d)))
    real_test, synthetic_test = (np.array([one.get("split") == "test" for one in e]) for e in (references, queries))
    generators = np.array([query.get("generator", "") for query in queries])

    def fitted(without: str | None = None) -> DomainModel | None:
        kept = ~synthetic_test & (generators != without)
        return fit_domain(
            real[~real_test],
            synthetic[kept],
            [one.get("concept", "") for one, test in zip(references, real_test, strict=True) if not test],
            [one.get("concept", "") for one, keep in zip(queries, kept, strict=True) if keep],
        )

    def row(model: DomainModel, images: str, features: np.ndarray, other: DomainModel | None) -> dict[str, object]:
        hints = model.judge(features)
        return {
            "images": images,
            "n": len(features),
            "photograph": float(np.mean([hint.photograph for hint in hints])),
            "unfamiliar": float(np.mean([hint.unfamiliar for hint in hints])),
            "unseen": None if other is None else other.share_of_photographs(features),
        }

    model = fitted()
    if model is None or not real_test.any():
        return []
    rows = [row(model, "references", real[real_test], None)]
    for generator in sorted(set(generators[synthetic_test])):
        rows.append(
            row(model, str(generator), synthetic[synthetic_test & (generators == generator)], fitted(str(generator)))
        )
    return [*rows, row(model, "all queries", synthetic[synthetic_test], None)] if synthetic_test.any() else rows


def table(rows: Sequence[dict[str, object]]) -> str:
    """The rows as a Markdown table."""
    if not rows:
        return "too few images outside the test split to fit the hint"
    lines = [
        "| test images | n | called a photograph | generator unseen | called unfamiliar |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        shares = ["" if row[name] is None else f"{row[name]:.3f}" for name in ("photograph", "unseen", "unfamiliar")]
        lines.append(f"| {row['images']} | {row['n']} | {' | '.join(shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_step(main)
