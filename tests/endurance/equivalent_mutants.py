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
        "logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature  # (n, n)": LAST_AXIS,
    },
    "aad/metrics.py": {
        "ahead = (similarities[None, :] > own).sum(1)": LAST_AXIS,
        "tied_ahead = ((similarities[None, :] == own) & (np.arange(len(similarities))[None, :] < ids[:, None])).sum(1)": LAST_AXIS,
        "means = sums[drawn].sum(1) / counts[drawn].sum(1)": LAST_AXIS,
    },
    "aad/calibration.py": {
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
    "aad/search.py": {
        "if similarities.shape[1]:": LAST_AXIS,
        "ids, similarities = (np.stack(column) for column in zip(*ranked, strict=True))": SAME_LENGTH,
        "ids = np.sort(ids)": {"ids = np.sort(ids) -> pass": "what follows orders them anyway"},
    },
    "aad/scale/stored.py": {
        "BLOCK_BYTES = 2 << 20  # of float32 rows converted at a time, which a processor's cache holds": dict.fromkeys(
            ("2 -> 3", "2 -> 1", "20 -> 21", "20 -> 19"), PIECES
        ),
        "PICK_BYTES = 256 << 10  # the same of single rows: memory that is not new to the process each time, which is what costs": dict.fromkeys(
            ("256 -> 257", "256 -> 255", "10 -> 11", "10 -> 9"), PIECES
        ),
        "found = np.empty((len(ids), self.shape[1]), np.float32)": LAST_AXIS,
        "n = n or rows_in(CHUNK_BYTES, self.shape[1])": LAST_AXIS,
        "bits &= ~0x70000000  # copies of the sign": {
            "1879048192 -> 1879048193": "the last thirteen bits are zero there",
        },
        "wide *= np.float32(2.0**112)": {"2.0 -> -2.0": "112 is even"},
    },
    "aad/scale/mass.py": {},
    "aad/scale/compressed.py": {
        "for row, (query, ids) in enumerate(zip(queries, found, strict=True)):": SAME_LENGTH,
    },
    "aad/scale/building.py": {
        "if size >= n:": {"size >= n -> size > n": "each of n stretches of one row is that row"},
        "queries = check_queries(queries, rows.shape[1])": LAST_AXIS,
    },
    "aad/scale/codes.py": {
        "self._quantiser = faiss.ProductQuantizer(rotation.shape[1], len(codebook), 4)": LAST_AXIS,
        "self.centre = np.zeros(rotation.shape[1], np.float32) if centre is None else centre": LAST_AXIS,
        "quantiser = faiss.ProductQuantizer(rotation.shape[1], n_pieces, 4)": LAST_AXIS,
        "quantiser.train(np.resize(rotated, (max(s, N_PROTOTYPES), rotation.shape[1])))  # k-means wants 16 rows at least": LAST_AXIS,
        "dealt[1::2] = dealt[1::2, ::-1]": {
            "2 -> 3": "of three rounds the second alone is dealt backwards",
            "2 -> -2": "of three rounds the second alone is dealt backwards",
        },
        "quantiser.cp.seed, quantiser.cp.niter, quantiser.cp.min_points_per_centroid = seed + 1, ROUNDS, 1": {
            "1 -> 2": K_MEANS,
            "1 -> 0": K_MEANS,
            "1 -> -1": K_MEANS,
        },
        "return self._index.search(np.ascontiguousarray(queries @ self.codec.rotation), c)[1]": {"1 -> -1": SECOND},
        'pieces = (*arrays["codebook"].shape, 0)[0]': {"0 -> 1": "none and one are refused alike"},
        "if pieces < 2 or pieces % 2:": {
            "2 -> 1": "one is odd",
            "2 -> -2": "what is odd leaves a remainder to minus two, too",
        },
    },
}
