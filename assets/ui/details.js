// The panel that opens for a chosen reference: its picture beside the query, its words, and where each space ranks it.
(() => {
  const page = (window.attributionPage ??= {});

  page.mountDetails = (element) => {
    const { make } = page;
    const { on, heard } = page.mount("details");
    const slot = element.querySelector(".slot");
    const panel = make("aside", {
      class: "details",
      role: "dialog",
      "aria-label": "Details of the chosen picture",
      tabindex: "-1",
      hidden: true,
    });
    slot.replaceChildren(panel);
    let opener = null;

    const fact = (name, ...value) => [make("dt", {}, name), make("dd", {}, ...value)];

    const link = (address) => {
      let url;
      try {
        url = new URL(address);
      } catch {
        return address;
      }
      if (url.protocol !== "https:" && url.protocol !== "http:") return address;
      return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, url.host + url.pathname);
    };

    const further = (id) => {
      const again = make("button", { type: "button", class: "search-again" }, "Search again with this picture");
      on(again, "click", () => page.askReference(id));
      const explain = make("button", { type: "button", class: "explain-again" }, "Explain this match");
      on(explain, "click", () => page.explain(id));
      return make("p", { class: "further" }, again, explain);
    };

    const standing = (id) =>
      page.catalogue.spaces.map((space) => {
        const match = page.matchesOf(space.id).get(id);
        const cells = match
          ? [String(match.rank), page.cosine(match.similarity), page.share(match.weight, match.estimated)].map((text) => make("td", {}, text))
          : [make("td", { colspan: "3", class: "muted" }, `not among the first ${page.state.answer?.k ?? ""}`.trim())];
        return make(
          "tr",
          { "data-space": space.id },
          make("th", { scope: "row" }, space.name, " ", make("span", { class: "term" }, space.id)),
          ...cells,
        );
      });

    const open = ({ id }) => {
      const reference = page.reference(id);
      const query = page.state.answer?.query;
      const isTruth = page.truth().has(id);
      const close = make("button", { type: "button", class: "close", "aria-label": "Close details" }, "Close");
      on(close, "click", () => page.set("selected", null));
      const pictures = [
        query?.url
          ? make("figure", {}, make("span", { class: "frame" }, page.picture(query.url)), make("figcaption", {}, query.reference === undefined ? "The synthetic picture" : "The picture searched with"))
          : null,
        make(
          "figure",
          { class: isTruth ? "is-truth" : null },
          make("span", { class: "frame" }, page.picture(reference.picture, { alt: reference.title })),
          make("figcaption", {}, isTruth ? make("span", { class: "flag" }, "True source") : "In the collection"),
        ),
      ];
      panel.replaceChildren(
        close,
        make("div", { class: "pair" }, ...pictures.filter(Boolean)),
        make(
          "div",
          { class: "facts" },
          make("h2", {}, reference.title),
          make(
            "dl",
            {},
            reference.author ? fact("Author", reference.author) : [],
            fact("Source", reference.source || "not stated"),
            fact("Licence", reference.licence || "not stated"),
            reference.url ? fact("Link", link(reference.url)) : [],
            fact("Concept", [reference.concept, reference.group].filter(Boolean).join(" \u00b7 ") || "not stated"),
          ),
          query?.reference === id ? null : further(id),
          page.state.answer?.status === "answer"
            ? make(
                "table",
                { class: "standing" },
                make(
                  "thead",
                  {},
                  make("tr", {}, ...["Space", "Rank", "Similarity", "Weight"].map((name) => make("th", { scope: "col" }, name))),
                ),
                make("tbody", {}, ...standing(id)),
              )
            : null,
        ),
      );
    };

    heard("selected", () => {
      const selected = page.state.selected;
      document.body.classList.toggle("details-open", Boolean(selected));
      if (selected) {
        opener = selected.opener;
        open(selected);
        panel.hidden = false;
        panel.scrollTop = 0;
        panel.focus({ preventScroll: true });
      } else {
        panel.hidden = true;
        if (opener?.isConnected) opener.focus({ preventScroll: true });
        opener = null;
      }
    });
  };
})();
