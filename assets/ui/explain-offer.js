// Before a match is chosen: what to begin with.
(() => {
  const page = (window.attributionPage ??= {});
  const N_OFFERED = 4;

  // The first of each space, the true source where it is listed, then further ones of the last space.
  const candidates = () => {
    const lists = page.catalogue.spaces.map(({ id, name }) => ({ name, ids: [...page.matchesOf(id).keys()] }));
    const truth = [...page.truth()].find((id) => lists.some(({ ids }) => ids.includes(id)));
    const chosen = new Set(lists.flatMap(({ ids }) => ids.slice(0, 1)));
    if (truth !== undefined) chosen.add(truth);
    for (const id of lists.at(-1).ids) if (chosen.size < N_OFFERED) chosen.add(id);
    return [...chosen].map((id) => {
      const rank = Math.min(...lists.map(({ ids }) => ids.indexOf(id)).filter((i) => i >= 0));
      const names = lists.filter(({ ids }) => ids[rank] === id).map(({ name }) => name);
      return { id, standing: `Rank ${rank + 1} in ${names.length === lists.length ? "every space" : names.join(" and ")}` };
    });
  };

  const candidate = ({ id, standing }) => {
    const { make } = page;
    const reference = page.reference(id);
    const isTruth = page.truth().has(id);
    const button = make(
      "button",
      { type: "button", class: `candidate${isTruth ? " is-truth" : ""}`, "data-explain": id },
      make("span", { class: "frame" }, page.picture(reference.picture, { loading: "lazy" })),
      make(
        "span",
        { class: "words" },
        make("span", { class: "title" }, reference.title),
        make("span", { class: "muted" }, standing),
        isTruth ? make("span", { class: "flag" }, "True source") : null,
      ),
    );
    button.addEventListener("click", () => page.explain(id, { scroll: false }));
    return button;
  };

  page.makeOffer = () => {
    const { make } = page;
    const element = make("div", { class: "explain-offer" });
    return {
      element,
      show(answered) {
        if (!answered) return element.replaceChildren(make("p", { class: "muted" }, "Once a picture is answered, any of its matches can be explained here."));
        const words = "Choose any match above, or any point of the maps below. Or begin with one of these.";
        element.replaceChildren(make("p", {}, words), make("div", { class: "candidates" }, candidates().map(candidate)));
      },
    };
  };
})();
