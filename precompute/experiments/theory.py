"""How near a space is to what CCA would make of known pairs, the oracle: for looking, not for training.

Liu et al., arXiv:2601.22663, explain alignment and disentanglement as an approximation of canonical correlation analysis (CCA),
with an assumption on the cross-covariance between real and synthetic features. Here is what that says in numbers. In CCA's own
coordinates the cross-covariance of matched images is diagonal (``diagonal_share``), each domain is white (``effective_rank``,
``redundancy``), and the loudest directions are the canonical ones (``subspace_agreement``, ``linear_cka``).

Rows are matched: row i of one array belongs to row i of the other. All figures are of the sample; the biases of small samples are
said where they matter.
"""

import numpy as np

from aad.method import Head
from aad.spaces import Domain
from aad.vectors import covariance


def cca(real: np.ndarray, synthetic: np.ndarray, shrinkage: float, rank: int, weighting: float = 0.0) -> Head:
    """Regularised CCA of known pairs: the oracle. The head's coordinates are canonical variates, most correlated first.

    Args:
        real: (n, d) features of the sources.
        synthetic: (n, d) features of their synthetic images, matched row by row.
        shrinkage: in [0, 1]; share of each domain's covariance replaced by its mean eigenvalue times the identity. At 0, with fewer
            pairs than dimensions, every canonical correlation of the fitted pairs would be 1 and mean nothing.
        rank: variates kept.
        weighting: each variate is multiplied with its canonical correlation to this power; at 0 all count the same.

    References:
        Hotelling, Biometrika 28, 1936; Vinod, Journal of Econometrics 4, 1976, for the ridge.
    """
    first, second = (inverse_root(shrunk(covariance(rows), shrinkage)) for rows in (real, synthetic))
    left, correlations, right = np.linalg.svd(first @ cross_covariance(real, synthetic) @ second)
    directions = signed(np.hstack([left.T[:rank] @ first, right[:rank] @ second]))  # one sign for both domains
    directions *= correlations[:rank, None] ** weighting
    centres = (rows.mean(0, dtype=np.float64).astype(np.float32) for rows in (real, synthetic))
    weights = (np.asarray(part, dtype=np.float32) for part in np.split(directions, [real.shape[1]], axis=1))
    return Head(dict(zip(Domain, centres, strict=True)), dict(zip(Domain, weights, strict=True)))


def cross_covariance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Covariance between matched rows, each about its own mean: (n, d) and (n, e) give (d, e).

    >>> cross_covariance(np.array([[0.0], [2.0]]), np.array([[5.0, 1.0], [9.0, 1.0]])).tolist()
    [[2.0, 0.0]]
    """
    return (first - first.mean(0, dtype=np.float64)).T @ (second - second.mean(0, dtype=np.float64)) / len(first)


def shrunk(matrix: np.ndarray, shrinkage: float) -> np.ndarray:
    """The (d, d) covariance with a share of it replaced by its mean eigenvalue times the identity; the trace stays.

    >>> shrunk(np.diag([3.0, 1.0]), 0.5).tolist()
    [[2.5, 0.0], [0.0, 1.5]]
    """
    return (1 - shrinkage) * matrix + shrinkage * np.trace(matrix) / len(matrix) * np.eye(len(matrix))


def inverse_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric (d, d) matrix whose square is the inverse (ZCA): whitening that turns nothing.

    >>> inverse_root(np.diag([4.0, 0.25])).round(6).tolist()
    [[0.5, 0.0], [0.0, 2.0]]

    Raises:
        ValueError: a direction without variance; it would be blown up without bound.
    """
    variances, directions = np.linalg.eigh(matrix)
    if variances[0] <= 1e-12 * max(variances[-1], 1e-300):  # below the precision of the sums behind a covariance
        raise ValueError("the covariance is singular: give more pairs than dimensions, or a shrinkage above 0")
    return (directions * variances**-0.5) @ directions.T


def signed(directions: np.ndarray) -> np.ndarray:
    """The (k, d) rows, each with its largest entry positive: an eigenvector leaves its sign open."""
    return directions * np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]


def cross_correlation(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Cross-covariance of matched rows after every dimension of each domain is scaled to unit variance, (d, e), in [-1, 1].

    A dimension without variance correlates with nothing: 0. Sampling alone scatters each entry by about ``1 / sqrt(n)``.
    """
    scales = np.outer(_deviations(real), _deviations(synthetic))
    cross = cross_covariance(real, synthetic)
    return np.divide(cross, scales, out=np.zeros_like(cross), where=scales > 0)


def diagonal_share(matrix: np.ndarray) -> float:
    """Share of the squared Frobenius norm that stands on the diagonal, in [0, 1]; ``1 / d`` where all entries are alike.

    1 for the cross-covariance in CCA's coordinates: dimension i of one domain goes with dimension i of the other and with no other.
    It depends on the coordinates, so say which they are; principal directions are a fair choice, as they are fixed without pairs.

    >>> diagonal_share(np.array([[3.0, 1.0], [1.0, 3.0]]))
    0.9
    """
    return float(np.square(np.diagonal(matrix)).sum() / np.square(matrix).sum())


def correlations(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Correlation of matched dimensions, (d,): how well each coordinate of one domain tells that of the other.

    For canonical variates that were fitted on other pairs, these are the canonical correlations that hold up on these pairs.
    """
    return np.diagonal(cross_correlation(real, synthetic))


def cross_spectrum(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Singular values of the cross-covariance of matched (n, d) and (n, e) rows, (min(n, d, e),), loudest first.

    From the triangular factors of both, so that n rows of many dimensions cost what n dimensions would.
    """
    first, second = (np.linalg.qr(x.T - x.mean(0, dtype=np.float64)[:, None])[1] for x in (real, synthetic))
    return np.linalg.svd(first @ second.T / len(real), compute_uv=False)


def effective_rank(embeddings: np.ndarray) -> float:
    """Number of directions that (n, d) embeddings use: exp of the entropy of their covariance's normalised spectrum.

    In [1, min(d, n - 1)]: d for white embeddings, 1 for a line. Finite samples read low: even white rows with ``n = d`` give about
    0.6 d.

    References:
        Roy and Vetterli, The effective rank, EUSIPCO 2007, here of the covariance, where they take singular values.
    """
    variances = np.linalg.eigvalsh(_smaller_gram(embeddings - embeddings.mean(0, dtype=np.float64)))
    shares = variances[variances > 0] / variances.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def redundancy(embeddings: np.ndarray) -> float:
    """Mean squared correlation between different dimensions of (n, d) embeddings, in [0, 1]; 0 when no two say the same.

    What Infomax is to remove, as the off-diagonal term of Barlow Twins. Independent dimensions read ``1 / (n - 1)``, not 0.

    References:
        Zbontar et al., arXiv:2103.03230.
    """
    d = embeddings.shape[1]
    deviations = _deviations(embeddings)
    centred = embeddings - embeddings.mean(0, dtype=np.float64)
    scaled = np.divide(centred, deviations, out=np.zeros_like(centred), where=deviations > 0)
    correlations = _smaller_gram(scaled) / len(scaled)  # or the rows' products, whose squares have the same sum
    return float((np.square(correlations).sum() - (deviations > 0).sum()) / (d * (d - 1)))


def principal_directions(embeddings: np.ndarray, k: int) -> np.ndarray:
    """The k loudest directions of (n, d) embeddings, (k, d) orthonormal, loudest first, each with its largest entry positive."""
    from scipy.linalg import eigh

    n, d = embeddings.shape
    centred = embeddings - embeddings.mean(0, dtype=np.float64)
    gram = _smaller_gram(centred)
    directions = eigh(gram, subset_by_index=[len(gram) - k, len(gram) - 1])[1].T[::-1]
    if n < d:  # of the rows' products: the same directions, seen from the rows
        directions = directions @ centred
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return signed(directions)


def subspace_agreement(scores: np.ndarray, target: np.ndarray) -> float:
    """Share of the target's subspace that the scores capture: mean squared cosine of the principal angles, in [0, 1].

    Both describe the same n images. 1 when every target variate is a linear mix of the scores; about ``k / (n - 1)`` for unrelated
    scores. Mixing or scaling either side's columns changes nothing, so it compares directions, not how loud they are.

    Args:
        scores: (n, k), for instance the coordinates along a space's k principal directions.
        target: (n, m), for instance the oracle's first m canonical variates. Take only those that correlate on other pairs as
            well: the others are chance, lean towards loud directions, and hide what the first say.

    References:
        Bjoerck and Golub, Mathematics of Computation 27, 1973, for the angles; the mean of their squared cosines is R^2_CCA in
        Kornblith et al., arXiv:1905.00414.
    """
    from scipy.linalg import orth

    first, second = (orth(rows - rows.mean(0, dtype=np.float64), rcond=1e-7) for rows in (scores, target))
    return float(np.square(first.T @ second).sum() / second.shape[1])


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of (n, d) and (n, e) rows of the same images: how alike their similarity structures are.

    1 when one is a rotated and scaled copy of the other, about 0 for unrelated rows (a little below is possible): the unbiased
    estimate, because the plain one reads high when n is not far above d. Unlike ``subspace_agreement`` it needs no cut-off k, and
    loud directions count for more.

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited, arXiv:1905.00414; the unbiased estimate of Song et
        al., JMLR 13, 2012, as used by Nguyen et al., arXiv:2010.15327.
    """
    one, other = _gram(first), _gram(second)
    return float(_dependence(one, other) / np.sqrt(_dependence(one, one) * _dependence(other, other)))


def _smaller_gram(rows: np.ndarray) -> np.ndarray:
    """Products of all pairs of columns of (n, d) rows, or of all pairs of rows where these are fewer."""
    return rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows


def _gram(rows: np.ndarray) -> np.ndarray:
    """(n, n) products of centred rows, without those of a row with itself, which cause the bias."""
    centred = rows - rows.mean(0, dtype=np.float64)
    products = centred @ centred.T
    np.fill_diagonal(products, 0)
    return products


def _dependence(one: np.ndarray, other: np.ndarray) -> float:
    """Unbiased HSIC of two Gram matrices, times ``n (n - 3)``."""
    n, a, b = len(one), one.sum(0), other.sum(0)
    return float((one * other).sum() + a.sum() * b.sum() / (n - 1) / (n - 2) - 2 * a @ b / (n - 2))


def _deviations(rows: np.ndarray) -> np.ndarray:
    """(d,) standard deviations; what is rounding only counts as none."""
    deviations = rows.std(0, dtype=np.float64)
    return np.where(deviations > 1e-9 * np.abs(rows).max(initial=0), deviations, 0)
