// The three columns: what each space retrieves, on one scale, with the share that no reference explains.
(() => {
  const page = (window.attributionPage ??= {});
  const WEIGHT_MEANING =
    "Attribution weight: the calibrated share of this picture that the reference accounts for. All bars share one scale, from 0 to 100%.";
  const SIMILARITY_MEANING = "Cosine similarity of the two embeddings, from \u22121 to 1; 1 means identical.";

  page.mountAnswer = (element, props, { watch }) => {
    const { make, hint } = page;
    const { on, heard, signal } = page.mount("answer");
    const root = element.querySelector(".slot");
    const status = make("p", { class: "status", role: "status" });
    const tabs = make("div", { class: "tabs", role: "group", "aria-label": "Choose a space" });
    const columns = make("div", { class: "lanes" });
    const notice = make("div", { class: "notice", hidden: true });

    const receive = () => {
      const answer = props.value;
      if (!answer || answer.serial === undefined) return;
      if (answer.status === "warming") return page.busy(answer.text);
      page.busy(null);
      page.set("selected", null);
      page.set("answer", answer);
    };

    const draw = () => {
      const answer = page.state.answer;
      const shown = answer?.status === "answer";
      root.dataset.status = answer?.status ?? "empty";
      notice.hidden = shown;
      legend.hidden = !shown;
      if (!shown) notice.replaceChildren(...noticeOf(answer));
      columns.replaceChildren(...page.catalogue.spaces.map((space) => column(space, shown ? answer : null)));
    };

    const noticeOf = (answer) =>
      answer?.status === "error"
        ? [
            make("h2", {}, answer.title ?? "This picture could not be read"),
            make("p", {}, answer.text),
            make("p", { class: "muted" }, "Choose another file, or one of the examples."),
          ]
        : [
            make("h2", {}, "Which pictures is yours made of?"),
            make("p", {}, "Drop or paste a synthetic picture, pick a file, or try one of the examples."),
            make("p", { class: "muted" }, "The three columns below will show the closest pictures of the collection."),
          ];

    const column = (space, answer) => {
      const part = answer?.spaces[space.id];
      const list = make("ol", { class: "matches" });
      part?.matches.forEach(([id, similarity, weight], i) => list.append(row(id, i + 1, similarity, weight)));
      return make(
        "section",
        { class: "lane", "data-space": space.id, "aria-label": `${space.name}: the ${space.id} space` },
        make(
          "header",
          {},
          make("h2", {}, space.name, " ", make("span", { class: "term" }, space.id)),
          make("p", { class: "line" }, space.line),
          make("p", { class: "truth" }, answer ? truthLine(answer, space.id) : ""),
        ),
        list,
        part ? rest(part) : null,
      );
    };

    const truthLine = (answer, space) => {
      const known = answer.query.truth ?? [];
      if (!known.length) return "";
      const ranks = answer.query.ranks?.[space] ?? [];
      const many = known.length > 1;
      if (!ranks.length) {
        const found = page.matchesOf(space);
        const seen = known.filter((id) => found.has(id)).map((id) => found.get(id).rank);
        if (!seen.length) return `True source: not among the first ${answer.k}`;
        return `True source: rank ${page.ordinalList(seen.sort((a, b) => a - b))}`;
      }
      return many ? `True sources (${known.length}): best at rank ${ranks[0]}` : `True source: rank ${ranks[0]}`;
    };

    const bar = (share, kind = "", unit = null) =>
      make(
        "span",
        { class: "measure" },
        make("span", { class: "number" }, page.percent(share)),
        make("span", { class: `bar ${kind}` }, make("span", { style: { width: `${100 * Math.max(0, share)}%` } })),
        unit ? make("span", { class: "unit" }, unit) : null,
      );

    const row = (id, rank, similarity, weight) => {
      const reference = page.reference(id);
      const isTruth = page.truth().has(id);
      const flag = isTruth ? make("span", { class: "flag" }, "True source") : null;
      const button = make(
        "button",
        { type: "button", class: "match", "data-ref": id },
        make("span", { class: "rank" }, make("span", { class: "sr" }, "Rank "), String(rank)),
        make("span", { class: "frame" }, page.picture(reference.picture, rank > 3 ? { loading: "lazy" } : {}), rank === 1 ? flag : null),
        make(
          "span",
          { class: "words" },
          make("span", { class: "title", title: reference.title }, reference.title),
          make("span", { class: "similarity" }, "similarity ", make("span", { class: "number" }, page.cosine(similarity))),
          rank === 1 ? null : flag,
        ),
        bar(weight, "", rank === 1 ? "weight" : null),
      );
      return make("li", { class: isTruth ? "is-truth" : null }, button);
    };

    const rest = (part) =>
      make(
        "div",
        { class: "rest" },
        make(
          "p",
          {},
          hint("Further down the list", "The share of all references beyond the ones shown, together."),
          bar(part.elsewhere, "faint"),
        ),
        make(
          "p",
          {},
          hint("None of these", "The remainder: the share that no picture of this collection explains."),
          bar(part.remainder, "hatched"),
        ),
      );

    const legend = make(
      "p",
      { class: "legend" },
      "Each row: ",
      hint("similarity", SIMILARITY_MEANING),
      " and, as a bar, its ",
      hint("attribution weight", WEIGHT_MEANING),
    );

    const showBusy = () => {
      const text = page.state.busy;
      root.toggleAttribute("data-busy", Boolean(text));
      root.setAttribute("aria-busy", String(Boolean(text)));
      status.textContent = text ?? "";
    };

    const markHover = () => {
      const id = page.state.hover;
      columns.querySelectorAll(".match").forEach((button) => {
        button.classList.toggle("is-linked", id !== null && Number(button.dataset.ref) === id);
      });
    };

    const markTab = () => {
      const middle = columns.scrollLeft + columns.clientWidth / 2;
      const nearest = [...columns.children].findIndex((one) => one.offsetLeft - columns.offsetLeft + one.offsetWidth > middle);
      [...tabs.children].forEach((tab, i) => tab.setAttribute("aria-pressed", String(i === Math.max(0, nearest))));
    };

    page.catalogueReady.then(() => {
      if (signal.aborted) return;
      tabs.replaceChildren(
        ...page.catalogue.spaces.map((space, i) => {
          const tab = make("button", { type: "button", "data-space": space.id, "aria-pressed": String(i === 0) }, space.name);
          on(tab, "click", () => {
            const target = columns.children[i];
            columns.scrollTo({ left: target.offsetLeft - columns.offsetLeft, behavior: "smooth" });
          });
          return tab;
        }),
      );
      root.replaceChildren(status, notice, tabs, columns, legend);
      const refOf = (event) => {
        const button = event.target.closest?.(".match");
        return button ? { id: Number(button.dataset.ref), opener: button } : null;
      };
      on(columns, "click", (event) => refOf(event) && page.set("selected", refOf(event)));
      for (const type of ["pointerover", "focusin"]) on(columns, type, (event) => page.set("hover", refOf(event)?.id ?? null));
      for (const type of ["pointerleave", "focusout"]) on(columns, type, () => page.set("hover", null));
      on(columns, "scroll", markTab, { passive: true });
      heard("answer", draw);
      heard("busy", showBusy);
      heard("hover", markHover);
      draw();
      receive();
      watch("value", receive);
    });
  };
})();
