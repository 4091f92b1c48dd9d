"""Fit the supervised AbC recipe as a baseline: one linear map per domain, from pairs of a model's exemplar and its queries.

Reads   feature files in AbC's form (precompute/abc/files.py), of models that are not tested on
Writes  a mapper for ``precompute.abc_evaluate --mapper``: real_mapper.weight, real_mapper.bias, synth_mapper.weight and
        synth_mapper.bias in a safetensors file. It maps features as they are stored, which the authors do not normalise

    python -m precompute.abc_train --features train.pth --out mapper.safetensors

A query is paired with one exemplar of its own model, the exemplars in turn. Some models are held out, and searched with the maps:
each of their queries among the exemplars of all held-out models.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aad.bundle import write_atomically
from aad.method import Head
from aad.spaces import Domain
from precompute.abc.files import MAPPERS, layers, read_test_case
from precompute.abc.splits import BenchmarkError
from precompute.common.cli import limit_threads, run_step
from precompute.experiments.baselines import SupervisedConfig, supervised

DEFAULT = SupervisedConfig()
Model = tuple[np.ndarray, np.ndarray]  # (n, d) exemplars and the (m, d) queries that it made, of all prompt types


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--features", type=Path, nargs="+", required=True, metavar="F.pth", help="AbC feature files")
    add("--out", type=Path, required=True, metavar="F.safetensors", help="mapper to write")
    add("--held-out", type=float, default=0.1, help="share of the models to validate on (0.1)")
    add("--steps", type=int, default=DEFAULT.n_steps, help=f"({DEFAULT.n_steps})")
    add("--batch-size", type=int, default=DEFAULT.batch_size, help=f"models ({DEFAULT.batch_size})")
    add("--decay", type=float, default=DEFAULT.decay, help=f"pull to the identity ({DEFAULT.decay:g})")
    add("--seed", type=int, default=0, help="of the held-out models and of the training (0)")
    add("--threads", type=int, default=1, help="torch threads; another number changes the last bits (1)")
    arguments = parser.parse_args(argv)
    if not 0 < arguments.held_out < 1 or arguments.steps < 1 or arguments.batch_size < 2 or arguments.decay < 0:
        parser.error("--held-out must be within 0 and 1, --steps 1 or more, --batch-size 2 or more, --decay 0 or more")
    if arguments.out.suffix != ".safetensors":
        parser.error(f"--out must end in .safetensors, by which abc_evaluate knows the form; got {arguments.out.name}")
    if len({path.resolve() for path in arguments.features}) < len(arguments.features):
        parser.error("--features names a file twice")
    limit_threads(arguments.threads)
    models = read_models(arguments.features)
    train, held_out = split(models, arguments.held_out, arguments.seed)
    sizes = {"n_steps": arguments.steps, "batch_size": arguments.batch_size}
    config = replace(DEFAULT, decay=arguments.decay, seed=arguments.seed, **sizes)
    rows = [pairs(model) for model in train]
    real, synthetic = (np.concatenate([row[side] for row in rows]) for side in (0, 1))
    print(f"{len(real):,} pairs of {len(train)} models, {config.n_steps} steps", flush=True)
    head = supervised(real, synthetic, config, np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows]))
    write_mapper(arguments.out, head)
    before, after = found_first(Head.identity(head.dim), held_out), found_first(head, held_out)
    print(
        f"{len(held_out)} held-out models, {sum(len(queries) for _, queries in held_out):,} queries, "
        f"{sum(len(exemplars) for exemplars, _ in held_out):,} exemplars: an own exemplar comes first for "
        f"{100 * before:.1f} % with the features alone, {100 * after:.1f} % with the mapper in {arguments.out}"
    )


def read_models(paths: Sequence[Path]) -> list[Model]:
    """Every model that has queries, file by file.

    Raises:
        BenchmarkError: a file departs from AbC's form, or files of different backbones.
    """
    models: list[Model] = []
    for path in tqdm(paths, desc="features", unit="file", disable=None):
        case = read_test_case(path)
        d = case.exemplars.shape[1]
        if models and d != models[0][0].shape[1]:
            raise BenchmarkError(
                f"all files must have features of one backbone, {paths[0]} has {models[0][0].shape[1]} dimensions, "
                f"{path} has {d}; give files of one backbone"
            )
        for model, (start, end) in enumerate(case.chunks):
            made = np.concatenate([queries.features[queries.ids == model] for queries in case.queries.values()])
            if len(made):
                models.append((case.exemplars[start:end], made))
    return models


def split(models: Sequence[Model], share: float, seed: int) -> tuple[list[Model], list[Model]]:
    """Models to train on and models to hold out, at least two of each.

    Raises:
        BenchmarkError: fewer than four models.
    """
    if len(models) < 4:
        raise BenchmarkError(
            f"two models to train on and two to hold out are needed, got {len(models)} with queries; give more files"
        )
    n = min(max(2, round(share * len(models))), len(models) - 2)
    chosen = set(np.random.default_rng(seed).choice(len(models), n, replace=False).tolist())
    held_out = [model for i, model in enumerate(models) if i in chosen]
    return [model for i, model in enumerate(models) if i not in chosen], held_out


def pairs(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """(m, d) exemplars and (m, d) queries, matched: each query with one exemplar, the exemplars in turn."""
    exemplars, queries = model
    return exemplars[np.arange(len(queries)) % len(exemplars)], queries


def found_first(head: Head, models: Sequence[Model]) -> float:
    """Share of the queries whose most similar exemplar, of all these models', is one of their own model's."""
    owner = np.repeat(np.arange(len(models)), [len(exemplars) for exemplars, _ in models])
    gallery = head.embed(np.concatenate([exemplars for exemplars, _ in models]), Domain.REAL)
    first = [(head.embed(queries, Domain.SYNTHETIC) @ gallery.T).argmax(1) for _, queries in models]
    return float(np.concatenate([owner[found] == maker for maker, found in enumerate(first)]).mean())


def write_mapper(path: Path, head: Head) -> None:
    """The head as a mapper's two linear layers."""
    from safetensors.numpy import save

    tensors = {}
    for domain, layer in layers(head).items():
        tensors[f"{MAPPERS[domain]}.weight"] = np.ascontiguousarray(layer.weight)
        tensors[f"{MAPPERS[domain]}.bias"] = layer.bias.astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors))


if __name__ == "__main__":
    run_step(main)
