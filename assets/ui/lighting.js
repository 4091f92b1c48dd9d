// Which references stand out now: those that pass the filter, lie in the selection and carry the legend's lit value.
(() => {
  const page = (window.attributionPage ??= {});
  const FIELDS = ["group", "source", "licence"];
  let known = null; // the last lighting, and what it was worked out from

  // One byte per reference, 1 where the filter lets it pass; null without a filter.
  page.passing = () => {
    const filter = page.state.filter ?? null;
    const asked = filter && FIELDS.filter((field) => filter[field]);
    if (!asked?.length) return null;
    if (known?.filter === filter && known.passing) return known.passing;
    const passing = new Uint8Array(page.catalogue.n).fill(1);
    for (const field of asked) {
      const { values, index } = page.catalogue.words[field];
      const holds = values.map((word) => filter[field].has(word));
      for (let id = 0; id < passing.length; id++) if (!holds[index[id]]) passing[id] = 0;
    }
    return passing;
  };

  // One byte per reference: 0 dimmed, 1 as ever, 2 lit. Shared by all maps, so it is worked out once per change.
  page.lighting = () => {
    const { filter = null, selection = null, group = null } = page.state;
    const colouring = page.colouring();
    const same = known?.filter === filter && known.selection === selection && known.group === group && known.colouring === colouring;
    if (same && known.catalogue === page.catalogue) return known.levels;
    const passing = page.passing();
    const levels = new Uint8Array(page.catalogue.n);
    const base = selection || group !== null ? 2 : 1;
    if (selection) for (const id of selection) levels[id] = base;
    else levels.fill(base);
    for (let id = 0; id < levels.length; id++) {
      if ((passing && !passing[id]) || (group !== null && colouring.index[id] !== group)) levels[id] = 0;
    }
    known = { filter, selection, group, colouring, passing, catalogue: page.catalogue, levels };
    return levels;
  };

  // Ids in a fixed shuffled order: where marks cover each other, no group of a sorted collection lies on top throughout.
  page.drawingOrder = (n) => {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    let seed = 1;
    for (let i = n - 1; i > 0; i--) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const j = Math.floor((seed / 4294967296) * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  };
})();
