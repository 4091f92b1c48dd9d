// The three maps side by side on one frame, or one map that moves through them; what is chosen for all of them; how far each can be trusted.
(() => {
  const page = (window.attributionPage ??= {});
  const FIDELITY_MEANING =
    "A flat map cannot keep every neighbourhood. This is the share of each picture's 10 most similar pictures that are also among its 10 nearest on this map, averaged over the collection. The columns above use the full space, not the map.";

  page.mountMaps = (element) => {
    const { make, hint } = page;
    const part = page.mount("maps");
    const { on, heard, signal } = part;
    const slot = element.querySelector(".slot");
    const spoken = make("p", { class: "sr", "aria-live": "polite" });
    part.announce = (text) => (spoken.textContent = text);

    const figure = (space, map) =>
      make(
        "figure",
        { class: "map", "data-space": space.id },
        make("figcaption", {}, make("h3", {}, space.name, " ", make("span", { class: "term" }, space.id))),
        map.plot,
        space.preservation === null
          ? null
          : make("p", { class: "fidelity" }, hint(`Keeps ${page.percent(space.preservation)} of each picture\u2019s 10 nearest neighbours`, FIDELITY_MEANING)),
      );

    const mapOf = (space, points) => {
      const n = page.catalogue.n.toLocaleString("en-GB");
      const layers = [{ space: space.id, strength: 1 }];
      const label = () => {
        const best = page.state.answer?.spaces?.[space.id]?.matches[0];
        const place = best ? ` Your picture lies closest to ${page.reference(best[0]).title}.` : "";
        return `Map of ${n} pictures in the ${space.id} space.${place}`;
      };
      return page.makeMap({ id: space.id, geometry: page.makeGeometry(points), layers: () => layers, label }, part);
    };

    // Buttons of which one is pressed.
    const choice = (name, options, get, set) => {
      const buttons = options.map(([value, words]) => {
        const button = make("button", { type: "button", class: "tool", "data-value": value }, words);
        on(button, "click", () => {
          set(value);
          page.remember();
        });
        return button;
      });
      const mark = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.value === get())));
      mark();
      return { element: make("div", { class: "choice", role: "group", "aria-label": name }, make("span", { class: "muted" }, name), ...buttons), mark };
    };

    const tool = (words, label, action) => {
      const button = make("button", { type: "button", class: "tool", "aria-label": label }, words);
      on(button, "click", action);
      return button;
    };

    const build = () => {
      const { spaces, n } = page.catalogue;
      page.state.colours ??= "group";
      const places = spaces.map((space) => page.decode(space.coordinates));
      const maps = spaces.map((space, i) => mapOf(space, places[i]));
      const trio = make("div", { class: "trio" }, ...spaces.map((space, i) => figure(space, maps[i])));
      const morph = page.makeMorph(places, part);
      const all = [...maps, morph.map];
      page.maps = { all, show: (way) => page.set("mapsShown", way) };

      const colours = choice("Colour by", page.colourFields(), () => page.state.colours, (field) => page.set("colours", field));
      heard("colours", colours.mark);
      const ways = [
        ["trio", "Side by side"],
        ["morph", "Morph"],
      ];
      const way = choice("Show", ways, () => page.state.mapsShown, page.maps.show);
      const showWay = () => {
        const moving = page.state.mapsShown === "morph";
        trio.hidden = moving;
        morph.element.hidden = !moving;
        if (!moving) morph.halt();
        together.hidden = moving;
        if (moving) morph.words.append(legend);
        else trio.after(legend);
        way.mark();
      };
      heard("mapsShown", showWay);

      const legend = page.makeLegend(part);
      const cameras = (action) => () => new Set(all.map((map) => map.camera)).forEach(action);
      const lasso = tool("Lasso", "Lasso: draw around pictures to select them", () => page.set("lasso", !page.state.lasso));
      lasso.title = "Draw around pictures to select them (or hold Shift and drag)";
      const markLasso = () => {
        lasso.setAttribute("aria-pressed", String(Boolean(page.state.lasso)));
        slot.classList.toggle("is-lasso", Boolean(page.state.lasso));
      };
      heard("lasso", markLasso);
      const together = tool("Move together", "Move the three maps together", () => link(together.getAttribute("aria-pressed") !== "true"));
      const link = (linked) => {
        const lead = all[0].camera;
        for (const map of all) {
          const { x, y, zoom } = map.camera;
          const camera = linked ? lead : page.makeCamera();
          if (!linked) camera.look(x, y, zoom);
          map.hold(camera);
        }
        together.setAttribute("aria-pressed", String(linked));
      };
      link(true);
      const zooms = [
        tool("\u2212", "Zoom out", cameras((camera) => camera.zoomBy(1 / 1.5))),
        tool("+", "Zoom in", cameras((camera) => camera.zoomBy(1.5))),
        tool("Reset", "Show the whole map", cameras((camera) => camera.reset())),
      ];
      const bar = make(
        "div",
        { class: "toolbar" },
        way.element,
        page.colourFields().length > 1 ? colours.element : null,
        make("div", { class: "choice tools", role: "group", "aria-label": "Move and select" }, together, lasso, ...zooms),
      );

      slot.replaceChildren(
        make("h2", {}, "The same collection, mapped three times"),
        make(
          "p",
          { class: "lead" },
          `Each mark is one of ${n.toLocaleString("en-GB")} pictures; marks that lie close look alike to that space. Lines tie your picture to its matches, thicker for more weight; a green ring is the true source. `,
          matchMedia("(pointer: coarse)").matches ? "Pinch to zoom; choose the lasso to draw around pictures." : "Drag to move, turn the wheel to zoom, hold Shift and drag to select.",
        ),
        bar,
        trio,
        morph.element,
        legend,
        page.makeMapTable(places, part),
        spoken,
      );
      markLasso();
      page.state.mapsShown ??= "trio";
      showWay();
      page.keep("map", () => (page.state.mapsShown === "morph" ? "morph" : null), page.maps.show);
      page.keep("colour", () => (page.state.colours === "group" ? null : page.state.colours), (field) => {
        if (page.colourFields().some(([one]) => one === field)) page.set("colours", field);
      });
    };

    // What lies outside the selection steps back in the columns too.
    const dim = () => {
      const { selection } = page.state;
      document.querySelectorAll(".match[data-ref]").forEach((row) => {
        row.classList.toggle("is-outside", Boolean(selection) && !selection.has(Number(row.dataset.ref)));
      });
    };
    heard("selection", dim);
    heard("answer", () => queueMicrotask(dim)); // after the columns have drawn it

    // Escape takes the selection back, unless it closes something else first.
    const escape = (event) => {
      if (event.key !== "Escape" || page.state.selected || page.state.talk || !page.state.selection) return;
      page.set("selection", null);
      part.announce("Nothing selected");
    };
    on(document, "keydown", escape, { capture: true });

    page.catalogueReady.then(() => signal.aborted || build());
  };
})();
