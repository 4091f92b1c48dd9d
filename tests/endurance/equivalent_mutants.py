"""Mutants that change nothing which a test could see, each with the reason; they are not tried and not counted.

Kept by module and the text of the line, so that lines may move; a line that changes loses its entry. Where a change can be made
in several places of a line, it is left out in all of them, also in those where a test would see it.
"""

# ruff: noqa: E501 - lines are quoted as they stand

PIECES = "pieces of another size give the same rows"
TWO_BINS = "the two bins at an end become one, which gives its own mean"
UNMAPPED = "numpy maps no array of objects, whatever is allowed"
MULTIPLE = "a multiple of a function is least where the function is"
START = "a search that starts a little to the side ends at the same place"
ONE_QUERY = {"0 -> -1": "the first of one query is the last"}
SECOND = "the second of two is the last"
K_MEANS = "another seed of k-means does as well, and faiss only warns of few points"
BELOW = "what is just a margin below cannot be among the best"
SOONER = "only frees memory sooner"
SAME_LENGTH = {"True -> False": "one comes of each of the others"}
LAST_AXIS = {"1 -> -1": "axis 1 of two axes is the last"}

#: module -> line -> change -> why nobody can see it
EQUIVALENT: dict[str, dict[str, dict[str, str]]] = {
    "aad/method/losses.py": {
        "logits = torch.cat([positive, first @ F.normalize(queue, dim=1).T], dim=1) / temperature  # (n, 1 + m)": LAST_AXIS,
        "first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)": LAST_AXIS,
        "positive = (first * second).sum(1, keepdim=True)": LAST_AXIS,
        "target = F.softmax((teacher.detach() - centre) / teacher_temperature, dim=1)": LAST_AXIS,
        "return -(target * F.log_softmax(student / student_temperature, dim=1)).sum(1).mean()": LAST_AXIS,
        "return -(torch.linalg.slogdet(weight).logabsdet + log_slope.sum(1).mean()) / len(weight)": LAST_AXIS,
    },
    "aad/metrics.py": {
        "ahead = (similarities[None, :] > own).sum(1)": LAST_AXIS,
        "tied_ahead = ((similarities[None, :] == own) & (np.arange(len(similarities))[None, :] < ids[:, None])).sum(1)": LAST_AXIS,
        "means = sums[drawn].sum(1) / counts[drawn].sum(1)": LAST_AXIS,
    },
    "aad/calibration.py": {
        "N_BINS = 4096  # of cosine from -1 to 1": {
            "4096 -> 4097": "each bin gives its own mean, and bins a four-thousandth narrower do as well",
            "4096 -> 4095": "each bin gives its own mean, and bins a four-thousandth wider do as well",
        },
        "beta, gamma = np.exp(parameters[0]), parameters[1]": {
            "1 -> -1": "the second of two parameters is the last",
        },
        "present = np.logaddexp(logsumexp(logits, axis=1), gamma)": LAST_AXIS,
        "source = logsumexp(np.where(is_exemplar, logits, -np.inf), axis=1)": LAST_AXIS,
        "without = np.logaddexp(logsumexp(np.where(is_absent, -np.inf, logits), axis=1), gamma)": LAST_AXIS,
        "return float(np.mean(present - source) + np.mean(without - gamma)) / 2": {
            "2 -> 1": MULTIPLE,
            "2 -> 3": MULTIPLE,
            "float(np.mean(present - source) + np.mean(without - gamma)) / 2 -> "
            "float(np.mean(present - source) + np.mean(without - gamma)) * 2": MULTIPLE,
        },
        'minimize(negative_log_likelihood, [np.log(beta), beta * similarities.max(1).mean()], method="Nelder-Mead")': {
            **LAST_AXIS,
            "beta * similarities.max(1).mean() -> beta / similarities.max(1).mean()": START,
            "similarities.max(1) -> similarities.min(1)": START,
            "1 -> 0": START,
        },
        "for beta in (5.0, 20.0, 80.0)": {
            "5.0 -> 4.0": START,
            "5.0 -> 6.0": START,
            "20.0 -> 19.0": START,
            "20.0 -> 21.0": START,
            "80.0 -> 79.0": START,
            "80.0 -> 81.0": START,
        },
        "return Calibration(float(np.exp(best.x[0])), float(best.x[1]))": {
            "1 -> -1": "the second of two parameters is the last",
        },
        "bins = np.clip(((others + 1) * (N_BINS / 2)).astype(np.int64), 0, N_BINS - 1)": {
            "np.clip(((others + 1) * (N_BINS / 2)).astype(np.int64), 0, N_BINS - 1) -> "
            "np.clip(0, ((others + 1) * (N_BINS / 2)).astype(np.int64), N_BINS - 1)": "the larger of two is the larger of two",
            "0 -> 1": TWO_BINS,
            "1 -> 2": TWO_BINS,
        },
        "return np.concatenate([kept, means], 1), np.concatenate([kept_counts, counts], 1), columns": LAST_AXIS,
    },
    "aad/bundle.py": {
        "if len(found) != len(wanted) or any(w not in (None, f) for w, f in zip(wanted, found, strict=True)):": {
            "True -> False": "their lengths were compared before"
        },
    },
    "aad/files.py": {
        "if dtype.hasobject or min(shape, default=0) < 0:": {"0 -> 1": "neither is negative"},
    },
    "precompute/common/rows.py": {
        'length = len(np.load(path, mmap_mode="r", allow_pickle=False))': {"False -> True": UNMAPPED},
        'yield np.load(path, mmap_mode="r", allow_pickle=False)[start : start + n].astype(np.float32)': {
            "False -> True": UNMAPPED
        },
    },
    "aad/retrieval/exact.py": {
        "if similarities.shape[1]:": LAST_AXIS,
        "READ, WIDEN = 16_384, 64  # rows read, and rows of them held in float64, at a time": {
            "16384 -> 16385": PIECES,
            "16384 -> 16383": PIECES,
            "64 -> 65": PIECES,
            "64 -> 63": PIECES,
        },
        "return self.embeddings.shape[1]": LAST_AXIS,
        "return self.stored.shape[1]": LAST_AXIS,
        "step = rows_in(CHUNK_BYTES, rows.shape[1])": LAST_AXIS,
        "for row, one in zip(similarities, best, strict=True):": SAME_LENGTH,
        "ranked = [nearest_exactly(query, one.ids, read_rows, k) for query, one in zip(queries, best, strict=True)]": SAME_LENGTH,
        "ids, similarities = (np.stack(column) for column in zip(*ranked, strict=True))": SAME_LENGTH,
        "ids = np.sort(ids)": {"ids = np.sort(ids) -> pass": "what follows orders them anyway"},
        "query = query.astype(np.float64)": {
            "query = query.astype(np.float64) -> pass": "a product with float64 is computed in float64",
        },
        "near = np.flatnonzero(similarities >= self.floor)": {
            "similarities >= self.floor -> similarities > self.floor": BELOW,
        },
        "kept = self.similarities >= self.floor": {
            "self.similarities >= self.floor -> self.similarities > self.floor": BELOW,
        },
        "if len(self.ids) > self.k:": {
            "len(self.ids) > self.k -> len(self.ids) >= self.k": "of k rows all are kept",
        },
        "self.ids, self.similarities = self.ids[kept], self.similarities[kept]": {
            "self.ids, self.similarities = (self.ids[kept], self.similarities[kept]) -> pass": SOONER,
        },
    },
    "aad/retrieval/search.py": {
        "if queries.ndim != 2 or queries.shape[1] != dim:": LAST_AXIS,
    },
    "aad/retrieval/stored.py": {
        "CHUNK_BYTES = 64 << 20  # of float32 rows held at a time by a scan; larger is no faster": dict.fromkeys(
            ("64 -> 65", "64 -> 63", "20 -> 21", "20 -> 19"), PIECES
        ),
        "BLOCK_BYTES = 2 << 20  # of float32 rows converted at a time, which a processor's cache holds": dict.fromkeys(
            ("2 -> 3", "2 -> 1", "20 -> 21", "20 -> 19"), PIECES
        ),
        "PICK_BYTES = 256 << 10  # the same of single rows: memory that is not new to the process each time, which is what costs": dict.fromkeys(
            ("256 -> 257", "256 -> 255", "10 -> 11", "10 -> 9"), PIECES
        ),
        "dims = {file.header.shape[1] for file in self._files}": LAST_AXIS,
        "found = np.empty((len(ids), self.shape[1]), np.float32)": LAST_AXIS,
        "n = n or rows_in(CHUNK_BYTES, self.shape[1])": LAST_AXIS,
        "d = self.shape[1]": LAST_AXIS,
        "file, d = self._files[part], self.shape[1]": LAST_AXIS,
        "d, dtype, offset = self.header.shape[1], self.header.dtype, self.header.offset": LAST_AXIS,
        "found[order[first:last][block]] = np.vecdot(rows, query) / np.where(norms > 0, norms, 1)": {
            "np.vecdot(rows, query) -> np.vecdot(query, rows)": "of real numbers it is the same",
            "1 -> 2": "zero is divided",
            "1 -> -1": "zero is divided",
        },
        "yield slice(a, a + step), widened(read.reshape(-1, d))": {
            "1 -> 2": "any negative length is the one that numpy finds",
        },
        'self._file = path.open("rb", buffering=0)': {
            "0 -> -1": "every read says where, and none is from the buffer",
        },
        "if first < last:": {"first < last -> first <= last": "of no rows none is read"},
        "bits &= ~0x70000000  # copies of the sign": {
            "1879048192 -> 1879048193": "the last thirteen bits are zero there",
        },
        "wide *= np.float32(2.0**112)": {"2.0 -> -2.0": "112 is even"},
    },
    "aad/retrieval/mass.py": {
        "found[row] = log_sum_exp(near[None], inverse_temperature)[0]": ONE_QUERY,
        "mean = log_sum_exp(tail[None], inverse_temperature)[0] - np.log(len(tail))": ONE_QUERY,
    },
    "aad/retrieval/compressed.py": {
        "for row, (query, ids) in enumerate(zip(queries, found, strict=True)):": SAME_LENGTH,
        "if log_mass is not None and inverse_temperature is not None:": {
            "log_mass is not None and inverse_temperature is not None -> "
            "log_mass is not None or inverse_temperature is not None": "there are both or neither",
        },
        ")[0]": ONE_QUERY,
        "if len(ids) > k:": {"len(ids) > k -> len(ids) >= k": "of k rows all are kept"},
        "ids = ids[about >= np.partition(about, -k)[-k] - MARGIN]": {
            "about >= np.partition(about, -k)[-k] - MARGIN -> about > np.partition(about, -k)[-k] - MARGIN": BELOW,
        },
        "return self.stored.shape[1]": LAST_AXIS,
        "near, similarities = exact.ids[0], exact.similarities[0]": ONE_QUERY,
    },
    "aad/retrieval/building.py": {
        "del sample": {"del sample -> pass": SOONER},
        "del codes  # as large as those in cells": {"del codes -> pass": SOONER},
        'truth = scan(_encoding(rows, codec, arrays["codes"], progress), rows.__getitem__, queries, K + 1)': {
            "1 -> 2": "a twelfth is as similar as the tenth only where the eleventh is"
        },
        "self.tied = (truth.similarities[:, K:] >= self.least).any(1)": {
            **LAST_AXIS,
            "(truth.similarities[:, K:] >= self.least).any(1) -> (truth.similarities[:, K:] >= self.least).all(1)": "it is one",
        },
        "if size >= n:": {"size >= n -> size > n": "each of n stretches of one row is that row"},
        "queries = check_queries(queries, rows.shape[1])": LAST_AXIS,
        "shares = np.array([np.isin(near, found).mean() for near, found in zip(self.nearest, candidates, strict=True)])": SAME_LENGTH,
        "return False": {"return False -> return None": "both are false"},
        "held = {n: _recall((places < n).mean(1)) for n in steps}  # if all rows in so many cells are compared": LAST_AXIS,
        "return np.stack([(row > row[own][:, None]).sum(1) for row, own in zip(near, cells, strict=True)])": LAST_AXIS
        | SAME_LENGTH,
        'listed = ListedCodes(self.codec, self.arrays["codes"], centroids, self.arrays["cells"], enough[0])': {
            "0 -> -1": "each trial sets it"
        },
        "shares[read] = (index.search(self.queries[read], K).similarities >= self.least[read]).mean(1)": LAST_AXIS,
    },
    "aad/retrieval/codes.py": {
        "self._quantiser = faiss.ProductQuantizer(rotation.shape[1], len(codebook), 4)": LAST_AXIS,
        "self.centre = np.zeros(rotation.shape[1], np.float32) if centre is None else centre": LAST_AXIS,
        "quantiser = faiss.ProductQuantizer(rotation.shape[1], n_pieces, 4)": LAST_AXIS,
        "quantiser.train(np.resize(rotated, (max(s, N_PROTOTYPES), rotation.shape[1])))  # k-means wants 16 rows at least": LAST_AXIS,
        "index = faiss.IndexFlatL2(centroids.shape[1])": LAST_AXIS,
        "dealt[1::2] = dealt[1::2, ::-1]": {
            "2 -> 3": "of three rounds the second alone is dealt backwards",
            "2 -> -2": "of three rounds the second alone is dealt backwards",
        },
        "quantiser.cp.seed, quantiser.cp.niter, quantiser.cp.min_points_per_centroid = seed + 1, ROUNDS, 1": {
            "1 -> 2": K_MEANS,
            "1 -> 0": K_MEANS,
            "1 -> -1": K_MEANS,
        },
        "seed=seed + 1,": {"1 -> 0": K_MEANS},
        "min_points_per_centroid=1,": {
            "1 -> 2": K_MEANS,
            "1 -> 0": K_MEANS,
            "1 -> -1": K_MEANS,
        },
        "return self._index.search(np.ascontiguousarray(queries @ self.codec.rotation), c)[1]": {"1 -> -1": SECOND},
        "return self._index.search(rotated, c, params=faiss.SearchParametersIVF(nprobe=self.n_probe))[1]": {
            "1 -> -1": SECOND
        },
        "return index.search(np.ascontiguousarray(rotated), 1)[1][:, 0].astype(np.int32)": {
            "1 -> -1": SECOND,
            "1 -> 2": "the first of two nearest is the nearest",
            "0 -> -1": "the first of one is the last",
        },
        'pieces = (*arrays["codebook"].shape, 0)[0]': {"0 -> 1": "none and one are refused alike"},
        "if pieces < 2 or pieces % 2:": {
            "2 -> 1": "one is odd",
            "2 -> -2": "what is odd leaves a remainder to minus two, too",
        },
        '"codes": ((n, pieces // 2), np.uint8),': {"pieces // 2 -> pieces / 2": "they are even"},
        "or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True))": {
            "True -> False": "their lengths were compared before"
        },
        "rotated.shape[1],": LAST_AXIS,
    },
    "aad/retrieval/sharded.py": {
        "answers = dict(zip(self._shards, pool.map(ask, self._shards), strict=True))": SAME_LENGTH,
        "ids = np.concatenate([answer.ids + self._offsets[name] for name, answer in found.items()], axis=1)": LAST_AXIS,
        "similarities = np.concatenate([answer.similarities for answer in found.values()], axis=1)": LAST_AXIS,
        "np.take_along_axis(ids, order, 1),": LAST_AXIS,
        "np.take_along_axis(similarities, order, 1),": LAST_AXIS,
        "return np.concatenate([shard.similarities(queries) for shard in self._shards.values()], axis=1)": LAST_AXIS,
        "order = np.lexsort((ids, -similarities), axis=1)[:, :k]": LAST_AXIS,
    },
}
