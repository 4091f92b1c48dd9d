// One column: a space's matches with how each moved since the column before, near-copies folded, and what left at its foot.
(() => {
  const page = (window.attributionPage ??= {});
  const LEFT_MEANING = "Among the first of the column before, and not of this one.";

  page.ESTIMATE_MEANING =
    "Each weight is a share of the whole collection. That whole was judged here from the closest pictures and a sample, or from the parts of the collection that answered. Similarities are exact.";

  page.bar = (share, kind = "", unit = null, estimated = false) =>
    page.make(
      "span",
      { class: "measure" },
      page.make("span", { class: "number" }, page.share(share, estimated)),
      page.make("span", { class: `bar ${kind}` }, page.make("span", { style: { width: `${100 * Math.max(0, share)}%` } })),
      unit ? page.make("span", { class: "unit" }, unit) : null,
    );

  const SIGNS = { new: "new", same: "=", up: "\u25b2", down: "\u25bc" };

  const moveOf = (move, before) => {
    if (!move) return null;
    const words = {
      new: `not among those of ${before.name}`,
      same: `same rank as in ${before.name}`,
      up: `up ${move.by} from rank ${move.was} in ${before.name}`,
      down: `down ${move.by} from rank ${move.was} in ${before.name}`,
    }[move.kind];
    const text = SIGNS[move.kind] + (move.by || "");
    return page.make(
      "span",
      { class: "move", "data-move": move.kind, title: words[0].toUpperCase() + words.slice(1) },
      page.make("span", { "aria-hidden": "true" }, text),
      page.make("span", { class: "sr" }, `, ${words}`),
    );
  };

  const row = (tag, [id, similarity, weight], rank, move, before, estimated) => {
    const { make } = page;
    const reference = page.reference(id);
    const isTruth = page.truth().has(id);
    const flag = isTruth ? make("span", { class: "flag" }, "True source") : null;
    const button = make(
      "button",
      { type: "button", class: "match", "data-ref": id },
      make("span", { class: "rank" }, make("span", { class: "sr" }, "Rank "), String(rank), moveOf(move, before)),
      make("span", { class: "frame" }, page.picture(reference.picture, rank > 3 ? { loading: "lazy" } : {}), rank === 1 ? flag : null),
      make(
        "span",
        { class: "words" },
        make("span", { class: "title", title: reference.title }, reference.title),
        make("span", { class: "similarity" }, "similarity ", make("span", { class: "number" }, page.cosine(similarity))),
        rank === 1 ? null : flag,
      ),
      page.bar(weight, "", rank === 1 ? (estimated ? "weight, estimate" : "weight") : null, estimated),
    );
    const again = make("button", { type: "button", class: "again", "aria-label": `Search again with ${reference.title}` }, "Search again");
    again.dataset.again = id;
    return make(tag, { class: isTruth ? "is-truth" : null }, button, again);
  };

  // The rows, each followed by its near-copies behind a line that opens; ranks stay those of the whole list.
  page.matchList = (part, moves, before) => {
    const { make } = page;
    const list = make("ol", { class: "matches" });
    const made = (tag, i) => row(tag, part.matches[i], i + 1, moves?.rows[i], before, part.estimated);
    part.matches.forEach((_, i) => {
      if ((part.copies?.[i] ?? null) !== null) return;
      list.append(made("li", i));
      const copies = part.matches.map((_, j) => j).filter((j) => part.copies?.[j] === i);
      if (!copies.length) return;
      const text = copies.length === 1 ? "and 1 near-copy" : `and ${copies.length} near-copies`;
      const ranks = `rank ${copies.map((j) => j + 1).join(", ")}`;
      const isTruth = copies.some((j) => page.truth().has(part.matches[j][0]));
      list.append(
        make(
          "li",
          { class: "copies" },
          make(
            "details",
            { open: isTruth },
            make("summary", {}, text, " ", make("span", { class: "muted" }, ranks)),
            ...copies.map((j) => made("div", j)),
          ),
        ),
      );
    });
    return list;
  };

  // What the column before had and this one has not, quietly.
  page.departed = (moves, before) => {
    const { make, hint } = page;
    if (!moves) return null;
    const same = make("p", { class: "shared" }, `${moves.shared} of ${moves.of} the same as in ${before.name}`);
    if (!moves.left.length) return make("div", { class: "left" }, same);
    const gone = moves.left.map(({ id, was }) => {
      const { title, picture } = page.reference(id);
      const label = `${title}, was rank ${was}`;
      return make("button", { type: "button", class: "gone", "data-ref": id, "aria-label": label, title: label }, page.picture(picture, { loading: "lazy" }));
    });
    return make("div", { class: "left" }, same, make("div", { class: "departed" }, hint("Left", LEFT_MEANING), ...gone));
  };
})();
