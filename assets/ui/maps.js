// The three maps side by side on one frame, how far each is to be trusted, and the legend they share.
(() => {
  const page = (window.attributionPage ??= {});
  const FIDELITY_MEANING =
    "A flat map cannot keep every neighbourhood. This is the share of each picture's 10 most similar pictures that are also among its 10 nearest on this map, averaged over the collection. The columns above use the full space, not the map.";

  page.mountMaps = (element) => {
    const { make, hint } = page;
    const part = page.mount("maps");
    const slot = element.querySelector(".slot");
    const spoken = make("p", { class: "sr", "aria-live": "polite" });
    const announce = (text) => (spoken.textContent = text);

    const figure = (space) =>
      make(
        "figure",
        { class: "map", "data-space": space.id },
        make("figcaption", {}, make("h3", {}, space.name, " ", make("span", { class: "term" }, space.id))),
        page.makeMap(space, { ...part, announce }),
        space.preservation === null
          ? null
          : make("p", { class: "fidelity" }, hint(`Keeps ${page.percent(space.preservation)} of each picture\u2019s 10 nearest neighbours`, FIDELITY_MEANING)),
      );

    const swatch = (group) => {
      const size = 14;
      const canvas = make("canvas", { width: 2 * size, height: 2 * size, "aria-hidden": "true" });
      const paint = () => {
        const context = canvas.getContext("2d");
        const { hue, shape } = page.groupMark(group);
        context.clearRect(0, 0, 2 * size, 2 * size);
        context.fillStyle = hue;
        context.beginPath();
        page.traceShape(context, shape, size, size, 9);
        context.fill();
      };
      paint();
      return { canvas, paint };
    };

    const legend = () => {
      const names = page.catalogue.words.group.values;
      const shown = names.slice(0, names.length > page.nNamedGroups ? page.nNamedGroups - 1 : names.length);
      const swatches = shown.map((_, group) => swatch(group));
      const items = shown.map((name, group) => {
        const item = make("button", { type: "button", class: "group", "aria-pressed": "false" }, swatches[group].canvas, name || "no group");
        let kept = false;
        const light = (on) => page.set("group", on ? group : null);
        part.on(item, "pointerenter", () => light(true));
        part.on(item, "pointerleave", () => light(kept));
        part.on(item, "focus", () => light(true));
        part.on(item, "blur", () => light(kept));
        part.on(item, "click", () => {
          kept = item.getAttribute("aria-pressed") !== "true";
          items.forEach((other) => other.setAttribute("aria-pressed", String(kept && other === item)));
          light(kept);
        });
        return item;
      });
      const theme = new MutationObserver(() => swatches.forEach((one) => one.paint()));
      theme.observe(document.body, { attributes: true, attributeFilter: ["class"] });
      part.signal.addEventListener("abort", () => theme.disconnect());
      const more = names.length - shown.length;
      return make(
        "div",
        { class: "groups", role: "group", "aria-label": "Concept groups; choose one to light it up on the maps" },
        ...items,
        more > 0 ? make("span", { class: "muted" }, `and ${more} more groups`) : null,
      );
    };

    page.catalogueReady.then(() => {
      if (part.signal.aborted) return;
      const n = page.catalogue.n.toLocaleString("en-GB");
      slot.replaceChildren(
        make("h2", {}, "The same collection, mapped three times"),
        make(
          "p",
          { class: "lead" },
          `Each mark is one of ${n} pictures; marks that lie close look alike to that space. Lines tie your picture to its matches, thicker for more weight; a green ring is the true source.`,
        ),
        make("div", { class: "trio" }, ...page.catalogue.spaces.map(figure)),
        legend(),
        spoken,
      );
    });
  };
})();
