"""The hint about what a query looks like: its thresholds by an independent loop, and the figures that its text names."""

import re

import numpy as np
import pytest

from aad import Attributor, domain
from aad.bundle import Bundle
from aad.domain import fit_domain
from aad.vectors import l2_normalise
from precompute import measure_domain

D = 12


def pictures(n, seed, shift):
    """Unit rows of 2n concepts' worth of content, synthetic ones shifted along the last axis."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n, D)) * 0.3
    rows[:, -1] += shift
    return l2_normalise(rows).astype(np.float32), [f"concept {i % 40}" for i in range(n)]


@pytest.fixture(scope="module")
def model():
    real, real_concepts = pictures(300, 1, 1.0)
    synthetic, synthetic_concepts = pictures(500, 2, -1.0)
    return fit_domain(real, synthetic, real_concepts, synthetic_concepts)


@pytest.fixture(scope="module")
def rows():
    return measure_domain.measure(Bundle.open())


def test_means_score_one_and_minus_one(model):
    real, synthetic = pictures(300, 1, 1.0)[0], pictures(500, 2, -1.0)[0]
    assert np.mean(real @ model.weight + model.offset) == pytest.approx(1, abs=1e-4)
    assert np.mean(synthetic @ model.weight + model.offset) == pytest.approx(-1, abs=1e-4)


def test_new_photographs_are_told_from_new_synthetic_images(model):
    photographs = [hint.photograph for hint in model.judge(pictures(200, 3, 1.0)[0])]
    synthetic = [hint.photograph for hint in model.judge(pictures(200, 4, -1.0)[0])]
    assert np.mean(photographs) > 0.9 and np.mean(synthetic) < 0.12


def test_the_direction_is_the_one_that_scikit_learn_finds():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    real, synthetic = pictures(400, 1, 1.0)[0], pictures(400, 2, -1.0)[0]
    ours, _ = domain._discriminant(real, synthetic)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=domain.SHRINKAGE)
    # scikit-learn shrinks each kind's covariance in its own scale, ours shrinks their mean: the same for equal scatter
    theirs.fit(np.concatenate([real, synthetic]), [1] * 400 + [0] * 400)
    cosine = ours @ theirs.coef_[0] / np.linalg.norm(ours) / np.linalg.norm(theirs.coef_[0])
    assert cosine > 0.99


def test_an_image_that_resembles_none_is_unfamiliar_and_a_known_one_is_not(model):
    known = pictures(500, 2, -1.0)[0][[5]]
    odd = np.zeros((1, D), dtype=np.float32)
    odd[0, :6] = np.array([1, -1, 1, -1, 1, -1]) / np.sqrt(6)
    odd[0, -1] = 0
    assert [hint.unfamiliar for hint in model.judge(np.concatenate([known, odd]))] == [False, True]
    assert model.judge(known)[0].nearest == pytest.approx(1, abs=1e-5)


def test_familiarity_never_counts_the_same_concept(model):
    synthetic, concepts = pictures(500, 2, -1.0)
    nearest = [
        max(float(a @ b) for b, other in zip(synthetic, concepts, strict=True) if other != own)
        for a, own in zip(synthetic, concepts, strict=True)
    ]
    assert model.unfamiliar_below == pytest.approx(np.quantile(nearest, domain.STRANGERS), abs=1e-5)


def test_too_few_images_or_concepts_give_no_opinion():
    real, concepts = pictures(300, 1, 1.0)
    assert fit_domain(real[:20], real, concepts[:20], concepts) is None
    assert fit_domain(real, real, concepts, [""] * 300) is None


def test_a_fit_looks_at_no_more_than_its_sample():
    real, concepts = pictures(domain.N_ROWS + 500, 1, 1.0)
    synthetic, others = pictures(300, 2, -1.0)
    drawn = domain.sample(len(real))
    assert len(drawn) == domain.N_ROWS and (np.diff(drawn) > 0).all()
    of_all = fit_domain(real, synthetic, concepts, others)
    of_some = fit_domain(real[drawn], synthetic, [concepts[i] for i in drawn], others)
    assert of_all is not None and of_some is not None and np.array_equal(of_all.weight, of_some.weight)
    assert domain.sample(7).tolist() == list(range(7))


def test_what_the_text_says_is_what_the_demo_gives(rows):
    text = " ".join((domain.__doc__ or "").split())
    share = {row["images"]: f"{100 * row['photograph']:.0f} %" for row in rows}
    unseen = {row["images"]: f"{100 * row['unseen']:.0f} %" for row in rows if row["unseen"] is not None}
    count = {row["images"]: row["n"] for row in rows}
    claims = [
        f"takes {share['references']} of {count['references']} references for photographs",
        f"wrongly {share['all queries']} of {count['all queries']} synthetic queries",
        f"{share['photometric']} of those of `photometric`",
        f"{share['arbitrary_style']} of `arbitrary_style` and {share['multistyle26']} of `multistyle26`",
        f"{unseen['multistyle26']} (multistyle26), {unseen['arbitrary_style']} (arbitrary_style) and "
        f"{unseen['photometric']} (photometric)",
    ]
    assert [claim for claim in claims if claim not in text] == []


def test_the_table_has_a_line_for_every_generator(rows):
    lines = measure_domain.table(rows).splitlines()
    assert [re.split(r" *\| *", line)[1] for line in lines[2:]] == [row["images"] for row in rows]
    assert measure_domain.table([]).startswith("too few")


def test_the_attributor_fits_what_the_command_measures(rows):
    attributor = Attributor.load()
    model = attributor.domain
    assert model is not None and model is attributor.domain, "fitted once"
    test = [reference.reference_id for reference in attributor.references if reference.split == "test"]
    features = attributor._index["backbone"].embeddings[test]
    assert model.share_of_photographs(features) == rows[0]["photograph"]
    assert attributor.attribute_query(0, 3).hint is None, "bundled queries are known to be synthetic"
