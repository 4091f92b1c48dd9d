"""After train_heads: how near each space is to what CCA makes of known pairs. For looking only; nothing is trained on it.

Reads   the bundle: queries with one known source, references, heads
Writes  theory.json, into the bundle or to --out

Every direction and every CCA is fitted on train-split pairs (or without pairs, where that is said); validation-split pairs tell how
many of the oracle's variates hold up; every figure is measured on test-split pairs. No split shares a concept with another. With
a few hundred sources CCA cannot be estimated in all dimensions of a backbone, so the oracle works within the loudest directions of
the features, and closeness to it is measured within them. It is an estimate still: the oracle's own column has its recall, and its
closeness to another oracle, fitted on the validation pairs, which is the most that can be asked of a space.

    python -m precompute.measure_theory
    python -m precompute.measure_theory --bundle BUNDLE --out FILE
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aad.bundle import Bundle, BundleError, read_heads
from aad.method import Head
from aad.spaces import SPACES, Domain
from precompute.common import figures
from precompute.common.cli import run_step, step_parser
from precompute.common.lock import hold
from precompute.experiments import theory

PICTURE = 32  # principal directions shown; the rest is quieter than the scatter of a few hundred pairs
SPECTRUM = 64  # singular values kept
SUBSPACE = 64  # loudest directions within which CCA is fitted: well below the number of sources
VARIATES = 32  # canonical correlations kept
ORACLE_RANK = 16  # most variates that closeness is about: a quarter of the subspace, so that chance is a quarter
# of CCA; 0.1 correlates best on validation pairs, 0.01 leans less on the features' own loudness
SHRINKAGES = (0.01, 0.1)
SHRINKAGE = SHRINKAGES[-1]

Rows = dict[Domain, np.ndarray]  # (n, d) of each domain, matched


@dataclass(frozen=True, slots=True)
class Pairs:
    """Matched images of one split.

    Attributes:
        source_ids: (n,) the reference that each query came from.
        features: per domain, (n, d) backbone features, matched row by row.
        first: rows of the first query of each source: where real images count once.
    """

    source_ids: np.ndarray
    features: Rows
    first: np.ndarray

    def distinct(self, rows: np.ndarray, domain: Domain) -> np.ndarray:
        """The rows of different images: a source with several queries counts once."""
        return rows[self.first] if domain == Domain.REAL else rows


@dataclass(frozen=True, slots=True)
class Oracle:
    """CCA of the train pairs within a subspace.

    Attributes:
        head: maps features to variates, weighted by their correlation.
        basis: (s, d) orthonormal, spans the subspace.
        rank: leading variates that correlate on the validation pairs too; the others are chance and would drown them.
    """

    head: Head
    basis: np.ndarray
    rank: int

    def inside(self, features: np.ndarray, domain: Domain) -> np.ndarray:
        """Features with all that lies outside the subspace replaced by the domain's mean."""
        centre = self.head.centre[domain]
        return centre + (features - centre) @ self.basis.T @ self.basis


def main(argv: Sequence[str]) -> None:
    parser = step_parser(__doc__)
    figures.add_out(parser)
    arguments = parser.parse_args(argv)
    if not arguments.out:
        hold(arguments.bundle)
    measured = measure(Bundle.open(arguments.bundle))
    figures.write_figures(arguments, argv, "measure_theory", "theory.json", measured, indent=None)
    print(table(measured))


def read_pairs(bundle: Bundle, split: str) -> Pairs:
    """Queries of a split with exactly one known source, and that source.

    Raises:
        BundleError: not more than ``SUBSPACE`` different sources.
    """
    dim = bundle.manifest["backbone"]["dim"]
    references = bundle.read_array("references_backbone.npy", (None, dim))
    queries = bundle.read_array("queries_backbone.npy", (None, dim))
    sources = {
        i: query["exemplar_ids"][0]
        for i, query in enumerate(bundle.read_json("queries.json"))
        if query.get("split") == split and len(query["exemplar_ids"]) == 1
    }
    ids = np.array(list(sources.values()), dtype=np.int64)
    first = np.unique(ids, return_index=True)[1]
    if len(first) <= SUBSPACE:
        raise BundleError(
            f"known pairs are needed here: more than {SUBSPACE} different sources of {split} queries are required, "
            f"{bundle.folder} has {len(first)}; a benchmark such as the demo has them"
        )
    return Pairs(ids, {Domain.REAL: references[ids], Domain.SYNTHETIC: queries[list(sources)]}, first)


def measure(bundle: Bundle) -> dict[str, Any]:
    """All figures as plain JSON: ``["spaces"][space]``, and ``["oracle"]`` for what the pairs themselves give."""
    train, validation, test = (read_pairs(bundle, split) for split in ("train", "validation", "test"))
    heads = read_heads(bundle)
    oracles = {shrinkage: _oracle(train, validation, shrinkage) for shrinkage in SHRINKAGES}
    others = {shrinkage: _oracle(validation, train, shrinkage).head for shrinkage in SHRINKAGES}
    ranks = {str(shrinkage): oracle.rank for shrinkage, oracle in oracles.items()}
    own, n_directions = oracles[SHRINKAGE].head, len(oracles[SHRINKAGE].basis)

    def closeness(of: dict[float, Head]) -> dict[str, Any]:
        return {"closeness": {str(s): _closeness(of[s], oracle, train, test) for s, oracle in oracles.items()}}

    return {
        "n_pairs": {"train": len(train.source_ids), "test": len(test.source_ids)},
        "n_sources": {"train": len(train.first), "test": len(test.first)},
        "settings": {"subspace": n_directions, "oracle_rank": ranks, "shrinkage": SHRINKAGE},
        "chance": {s: {"subspace": rank / n_directions} for s, rank in ranks.items()},  # of a map without preference
        "spaces": {
            str(space): {"recall@1": _recall(heads[space], bundle, test)}
            | _matching(heads[space], train, test)
            | _spread(heads[space], test)
            | closeness(dict.fromkeys(SHRINKAGES, heads[space]))
            for space in SPACES
        },
        "oracle": {"recall@1": _recall(own, bundle, test)}
        | _matching(own, train, test, own_coordinates=True)
        | closeness(others),
    }


def _oracle(train: Pairs, validation: Pairs, shrinkage: float) -> Oracle:
    """Fitted on the one set of pairs, its rank told by the other."""
    centre = {domain: rows.mean(0) for domain, rows in train.features.items()}
    centred = [train.features[domain] - centre[domain] for domain in Domain]
    basis = theory.principal_directions(np.concatenate(centred), min(SUBSPACE, centred[0].shape[1])).astype(np.float32)
    real, synthetic = (rows @ basis.T for rows in centred)
    inner = theory.cca(real, synthetic, shrinkage, min(VARIATES, len(basis)), weighting=1)
    head = Head(centre, {domain: inner.weight[domain] @ basis for domain in Domain})
    held_up = theory.correlations(*(head.apply(validation.features[domain], domain) for domain in Domain))
    chance = 3 / np.sqrt(len(validation.first))  # three standard deviations of unrelated variates
    rank = int(np.argmin([*(held_up > chance), False]))  # up to the first that does not
    return Oracle(head, basis, min(max(rank, 1), ORACLE_RANK))


def _recall(head: Head, bundle: Bundle, test: Pairs) -> float:
    """Share of test queries whose source is the nearest of all references."""
    references = bundle.read_array("references_backbone.npy", (None, head.dim))
    similarities = head.embed(test.features[Domain.SYNTHETIC], Domain.SYNTHETIC) @ head.embed(references, Domain.REAL).T
    return _rounded(figures.score(similarities, test.source_ids[:, None])["recall@1"].mean())


def _embedded(head: Head, pairs: Pairs) -> list[np.ndarray]:
    return [head.embed(pairs.features[domain], domain) for domain in Domain]


def _matching(head: Head, train: Pairs, test: Pairs, own_coordinates: bool = False) -> dict[str, Any]:
    """How the matched embeddings of the two domains go together, along the space's own principal directions or coordinates."""
    fitted, found = _embedded(head, train), _embedded(head, test)
    basis = np.eye(fitted[0].shape[1]) if own_coordinates else _common_directions(fitted, SUBSPACE)  # needs no pairs
    real, synthetic = (rows @ basis[:PICTURE].T for rows in found)
    picture = theory.cross_correlation(real, synthetic)
    variates = theory.cca(fitted[0] @ basis.T, fitted[1] @ basis.T, SHRINKAGE, min(VARIATES, len(basis)))
    held_up = theory.correlations(*(variates.apply(rows @ basis.T, d) for rows, d in zip(found, Domain, strict=True)))
    return {
        "cross_correlation": _rounded(picture, 2),
        "diagonal_share": {
            "covariance": _rounded(theory.diagonal_share(theory.cross_covariance(real, synthetic))),
            "correlation": _rounded(theory.diagonal_share(picture)),
        },
        "spectrum": _rounded(theory.cross_spectrum(*found)[:SPECTRUM], 5),
        "canonical_correlations": _rounded(held_up),
    }


def _common_directions(rows: list[np.ndarray], k: int) -> np.ndarray:
    """Loudest directions of both domains about their means, k at most."""
    return theory.principal_directions(np.concatenate([part - part.mean(0) for part in rows]), min(k, rows[0].shape[1]))


def _spread(head: Head, test: Pairs) -> dict[str, Any]:
    """How many directions each domain uses, and how much its dimensions repeat each other."""
    found = {str(d): test.distinct(rows, d) for d, rows in zip(Domain, _embedded(head, test), strict=True)}
    return {
        "effective_rank": {domain: _rounded(theory.effective_rank(rows), 1) for domain, rows in found.items()},
        "redundancy": {domain: _rounded(theory.redundancy(rows), 5) for domain, rows in found.items()},
    }


def _closeness(head: Head, oracle: Oracle, train: Pairs, test: Pairs) -> dict[str, float]:
    """Agreement with the oracle on test images, the mean of both domains, of the map within the oracle's subspace."""
    fitted = [head.apply(oracle.inside(train.features[domain], domain), domain) for domain in Domain]
    basis = _common_directions(fitted, oracle.rank)
    agreement: dict[str, list[float]] = {"subspace": [], "cka": []}
    for domain in Domain:
        rows = test.distinct(test.features[domain], domain)
        mapped, variates = head.apply(oracle.inside(rows, domain), domain), oracle.head.apply(rows, domain)
        agreement["subspace"].append(theory.subspace_agreement(mapped @ basis.T, variates[:, : oracle.rank]))
        agreement["cka"].append(theory.linear_cka(mapped, variates[:, : oracle.rank]))
    return {name: _rounded(float(np.mean(values))) for name, values in agreement.items()}


def _rounded(values: Any, digits: int = 4) -> Any:
    """Plain JSON numbers; adding 0 turns -0.0 into 0.0."""
    return (np.round(np.asarray(values, dtype=np.float64), digits) + 0).tolist()


def table(measured: dict[str, Any]) -> str:
    """The figures as a Markdown table, a column for each space and one for the oracle."""
    columns = {**measured["spaces"], "oracle": measured["oracle"]}
    cells = [_cells(column) for column in columns.values()]
    rows = [[title, *(of.get(title, "") for of in cells)] for title in cells[0]]
    return figures.markdown([*columns], rows).replace("|", "| |", 1).replace("|---", "|---|---", 1)


def _cells(column: dict[str, Any]) -> dict[str, str]:
    cells = {"recall@1": f"{column['recall@1']:.3f}"}
    cells |= {f"diagonal share, {kind}": f"{share:.3f}" for kind, share in column["diagonal_share"].items()}
    cells["mean canonical correlation"] = f"{np.mean(column['canonical_correlations']):.3f}"
    for name, form in (("effective_rank", ".0f"), ("redundancy", ".4f")):
        if name in column:
            both = " / ".join(format(column[name][domain], form) for domain in Domain)
            cells[f"{name.replace('_', ' ')}, real / synthetic"] = both
    for shrinkage, closeness in column["closeness"].items():
        cells |= {f"closeness, {name}, shrinkage {shrinkage}": f"{value:.3f}" for name, value in closeness.items()}
    return cells


if __name__ == "__main__":
    run_step(main)
