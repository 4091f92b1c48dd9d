"""Heat of a match: equal to pooling again by a loop, lit where the pictures agree, and refused where nothing is pooled."""

import functools
import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aad import Attributor, load_image
from aad.answers import Query, Reference
from aad.backbones.networks import EPSILON, N_MIXED, Pooling, mixtures
from aad.images import ImageError
from aad.method import Head
from aad.spaces import SPACES, Domain, Space
from aad.vectors import l2_normalise
from interface.heat import LAST, ExplanationError, explain, pool_without_regions, why_not

SIDE = 56


class Local(torch.nn.Module):
    """Seven blocks that never look beyond a cell of the 7 x 7 grid; pools the last three as the shipped backbone does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv, relu = functools.partial(torch.nn.Conv2d, bias=False), torch.nn.ReLU()
        first = [conv(3, 8, 2, 2), relu, conv(8, 12, 2, 2), torch.nn.Identity()]
        pooled = [torch.nn.Sequential(conv(*sizes), relu) for sizes in ((12, 16, 1), (16, 20, 2, 2), (20, 24, 1))]
        self.blocks = torch.nn.Sequential(*first, *pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in (4, 5, 6):
                std, mean = torch.std_mean(x, dim=(2, 3))
                parts += [mean, std]
        return torch.cat([torch.nn.functional.normalize(part) for part in parts], dim=1)


class ToyBackbone:
    def __init__(self, name: str = "efficientnet_lite0") -> None:
        self.spec = SimpleNamespace(name=name)
        self.network = Local().eval().requires_grad_(False)

    def in_torch(self) -> "ToyBackbone":
        return self

    def embed(self, images: list[Image.Image]) -> np.ndarray:
        return l2_normalise(self.network(pixels(images)).numpy())


def pixels(images: list[Image.Image]) -> torch.Tensor:
    squares = [np.asarray(image.resize((SIDE, SIDE)), np.float32) / 255 - 0.5 for image in images]
    return torch.from_numpy(np.stack(squares).transpose(0, 3, 1, 2))


class Toy:
    """An attributor of a few noisy pictures, with a random head of its own for each domain and learnt space."""

    def __init__(self, folder: Path, name: str = "efficientnet_lite0") -> None:
        rng = np.random.default_rng(0)
        paths = []
        for i in range(4):
            paths.append(folder / f"{i}.png")
            noise(rng).save(paths[-1])
        self.references = tuple(Reference(i, path, f"Picture {i}", "test", "CC0") for i, path in enumerate(paths[:3]))
        self.queries = (Query(0, paths[3], "media"),)
        self.spaces, self.stamp = SPACES, {"backbone": name}
        self._backbone = ToyBackbone(name)
        d = 2 * (16 + 20 + 24)
        self.heads = {Space.BACKBONE: Head.identity(d)}
        for space in SPACES[1:]:
            centre = {domain: 0.02 * rng.normal(size=d).astype(np.float32) for domain in Domain}
            weight = {domain: (np.eye(d) + 0.05 * rng.normal(size=(d, d))).astype(np.float32) for domain in Domain}
            self.heads[space] = Head(centre, weight)

    def warm_up(self) -> ToyBackbone:
        return self._backbone


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def noise(rng: np.random.Generator, colour: tuple[int, int, int] | None = None) -> Image.Image:
    """Patches of half a region's side about one colour, the picture's own: pictures differ, and so do regions."""
    colours = np.array(colour or rng.integers(0, 256, 3)) + 40 * rng.normal(size=(14, 14, 3))
    return Image.fromarray(colours.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def grids_of(toy: Toy, path: Path) -> list[torch.Tensor]:
    x, found = pixels([load_image(path)]), []
    for block in toy._backbone.network.blocks:
        x = block(x)
        found.append(x[0])
    return found[4:]


def embedding_without(toy: Toy, path: Path, region: tuple[int, int] | None, space: Space, domain: Domain) -> np.ndarray:
    """By a loop over the positions that remain, in torch: shares nothing with the sums that are tested."""
    parts = []
    for grid in grids_of(toy, path):
        step = grid.shape[1] // 7
        kept = [
            grid[:, y, x]
            for y, x in itertools.product(range(grid.shape[1]), repeat=2)
            if (y // step, x // step) != region
        ]
        positions = torch.stack(kept, dim=1)
        parts += [positions.mean(1), positions.std(1)]
    feature = torch.cat([torch.nn.functional.normalize(part, dim=0) for part in parts])
    head = toy.heads[space]
    mapped = head.apply(feature.numpy() / np.linalg.norm(feature.numpy()), domain)
    return mapped / np.linalg.norm(mapped)


@pytest.mark.parametrize("space", SPACES)
def test_heat_is_the_drop_of_similarity_when_a_region_is_left_out(toy: Toy, space: Space) -> None:
    query, reference = toy.queries[0].path, toy.references[1].path
    whole = embedding_without(toy, query, None, space, Domain.SYNTHETIC)
    other = embedding_without(toy, reference, None, space, Domain.REAL)
    found = explain(toy, 0, 1)[space]
    assert found.similarity == pytest.approx(whole @ other, abs=2e-6)
    for region in ((0, 0), (2, 5), (6, 6)):
        left = embedding_without(toy, query, region, space, Domain.SYNTHETIC)
        assert found.heat_query[region] == pytest.approx(whole @ other - left @ other, abs=2e-6)
        left = embedding_without(toy, reference, region, space, Domain.REAL)
        assert found.heat_reference[region] == pytest.approx(whole @ other - left @ whole, abs=2e-6)
        assert abs(found.heat_query[region]) > 2e-5, "a difference that rounding could not make"


def test_the_pooled_feature_survives_a_large_common_offset() -> None:
    rng = np.random.default_rng(0)
    small = rng.random((6, 7, 7))
    rows = pool_without_regions({0: (small + 1000).astype(np.float32)}, Pooling((0,), (0,)))
    kept = (small + 1000).astype(np.float32).astype(np.float64).reshape(6, 49)[:, 1:]
    std = kept.std(1, ddof=1)
    assert np.allclose(rows[1, 6:] * np.sqrt(2), std / np.linalg.norm(std), atol=1e-6)


def test_without_a_region_means_deviations_and_covariances_are_those_of_the_positions_that_remain() -> None:
    """numpy's own moments of what remains, position by position; one grid has more channels than are kept of mixtures."""
    rng = np.random.default_rng(0)
    grids = {2: rng.normal(2, 1, (5, 6, 6)), 4: rng.normal(0, 3, (N_MIXED + 4, 3, 3)), LAST: rng.random((8, 3, 3))}
    rows = pool_without_regions(
        {k: grid.astype(np.float32) for k, grid in grids.items()}, Pooling((2, 4), (2,), True, (2, 4))
    )
    assert rows.shape == (10, 2 * 5 + N_MIXED + 4 + 8 + 15 + N_MIXED * (N_MIXED + 1) // 2)
    for number, region in enumerate([None, *itertools.product(range(3), repeat=2)]):
        left = {}
        for k, grid in grids.items():
            step = grid.shape[1] // 3
            places = itertools.product(range(grid.shape[1]), repeat=2)
            left[k] = np.array([grid[:, y, x] for y, x in places if (y // step, x // step) != region])
        parts = [left[2].mean(0), left[2].std(0, ddof=1), left[4].mean(0), left[LAST].mean(0)]
        for k in (2, 4):
            covariance = np.cov(mixtures(len(grids[k])) @ left[k].T, bias=True)
            values = np.array([covariance[i, j] for i in range(len(covariance)) for j in range(i, len(covariance))])
            parts.append(values / np.sqrt(np.abs(values) + EPSILON))
        expected = np.concatenate([part / np.linalg.norm(part) for part in parts]) / np.sqrt(len(parts))
        assert np.allclose(rows[number], expected, rtol=0, atol=1e-6), region


def test_a_reference_as_query_is_embedded_as_the_real_picture_it_is(toy: Toy) -> None:
    found = explain(toy, toy.references[0], 1)[Space.ALIGNED]
    ours = embedding_without(toy, toy.references[0].path, None, Space.ALIGNED, Domain.REAL)
    theirs = embedding_without(toy, toy.references[1].path, None, Space.ALIGNED, Domain.REAL)
    assert found.similarity == pytest.approx(ours @ theirs, abs=1e-5)
    as_synthetic = explain(toy, toy.references[0].path, 1)[Space.ALIGNED]
    assert abs(as_synthetic.similarity - found.similarity) > 1e-3


def test_a_bundled_query_its_path_and_its_image_are_explained_alike(toy: Toy) -> None:
    path = toy.queries[0].path
    first = explain(toy, 0, 1)[Space.DISENTANGLED].heat_query
    for query in (path, str(path), load_image(path)):
        assert np.array_equal(explain(toy, query, 1)[Space.DISENTANGLED].heat_query, first)


def test_a_run_of_another_thread_does_not_get_into_the_heat(toy: Toy) -> None:
    quiet = explain(toy, 0, 1)

    def intrude() -> None:
        thread = threading.Thread(target=toy._backbone.embed, args=([load_image(toy.references[2].path)],))
        thread.start()
        thread.join()

    def late(*_: Any) -> None:  # after the last block has been seen, and before the run is over
        if threading.current_thread() is threading.main_thread():
            intrude()

    toy._backbone.network.register_forward_hook(late)
    found = explain(toy, 0, 1)
    for space in SPACES:
        assert np.array_equal(found[space].heat_query, quiet[space].heat_query)
    assert not any(block._forward_hooks for block in toy._backbone.network.blocks)


def test_a_backbone_without_a_grid_is_refused_in_words_and_never_loaded(tmp_path: Path) -> None:
    toy = Toy(tmp_path, name="dino_vits16")
    toy.warm_up = lambda: pytest.fail("the backbone was loaded for nothing")  # type: ignore[method-assign]
    assert "dino_vits16" in (why_not(toy) or "")
    with pytest.raises(ExplanationError, match="dino_vits16 does not pool"):
        explain(toy, 0, 0)


def test_unknown_references_and_what_is_no_picture_are_refused(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        explain(toy, 0, 3)
    (tmp_path / "letter.txt").write_text("dear reader")
    for path in (tmp_path / "letter.txt", tmp_path / "nowhere.png"):
        with pytest.raises(ImageError):
            explain(toy, path, 0)


def test_shipped_bundle_similarity_is_the_searchs_and_a_pasted_quarter_is_found(shipped: Attributor) -> None:
    """With the real backbone: the stored features are rounded to half precision, hence the tolerance."""
    attributor = shipped
    query = attributor.queries[attributor.examples[0]]
    reference_id = query.exemplar_ids[0]
    found = explain(attributor, query.query_id, reference_id)
    assert found[Space.ALIGNED].heat_query.shape == (7, 7)
    answer = attributor.attribute(query.path, k=len(attributor.references))
    for space in SPACES:
        stored = attributor.similarities([query.query_id], space)[0, reference_id]
        assert found[space].similarity == pytest.approx(stored, abs=1e-3)
        live = {match.reference_id: match.similarity for match in answer[space].matches}[reference_id]
        assert found[space].similarity == pytest.approx(live, abs=1e-3)
    hits = 0
    for reference_id, other in ((3, 200), (80, 10), (150, 60)):
        ours, theirs = (load_image(attributor.references[i].path).resize((448, 448)) for i in (other, reference_id))
        ours.paste(theirs.crop((224, 0, 448, 224)), (224, 0))
        heat = explain(attributor, ours, reference_id)[Space.DISENTANGLED].heat_query
        row, column = divmod(int(heat.argmax()), 7)
        hits += row <= 3 <= column
    assert hits >= 2, "by chance each is found for one in three"
