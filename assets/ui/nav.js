// The three views, and the address that leads back to what is shown: what each part wants to keep in it, it registers.
(() => {
  const page = (window.attributionPage ??= {});
  const VIEWS = [
    ["compare", "Compare"],
    ["inspect", "Inspect"],
    ["why", "Why it works"],
  ];
  const kept = new Map();

  page.show = (view) => {
    if (!VIEWS.some(([id]) => id === view)) return;
    document.body.dataset.view = view;
    page.set("view", view);
    window.scrollTo(0, 0);
  };

  // A part keeps something in the address: `get` gives a text or null, `set` takes it up again when the page opens.
  page.keep = (name, get, set) => {
    kept.set(name, { get, set });
    if (page.restored) restore(name);
  };

  const restore = (name) => {
    const text = new URLSearchParams(window.location.search).get(name);
    if (text !== null) kept.get(name).set(text);
  };

  // The address of what is shown now; names that are not ours, such as the theme's, stay.
  page.link = () => {
    const url = new URL(window.location.href);
    for (const [name, { get }] of kept) {
      const text = get();
      if (text === null || text === "") url.searchParams.delete(name);
      else url.searchParams.set(name, text);
    }
    return url.href;
  };

  page.remember = () => window.history.replaceState(null, "", page.link());

  page.mountNav = (element) => {
    const { make } = page;
    const { on, heard, signal } = page.mount("nav");
    const buttons = VIEWS.map(([id, name]) => {
      const button = make("button", { type: "button", "data-view": id }, name);
      on(button, "click", () => {
        page.show(id);
        page.remember();
      });
      return button;
    });
    const extras = make("span", { class: "nav-extras" }); // talk mode, take away: filled by their parts
    element.querySelector(".slot").replaceChildren(make("nav", { "aria-label": "Views" }, ...buttons, extras));
    const mark = () =>
      buttons.forEach((button) => {
        if (button.dataset.view === page.state.view) button.setAttribute("aria-current", "page");
        else button.removeAttribute("aria-current");
      });
    heard("view", mark);
    page.keep("view", () => (page.state.view === "compare" ? null : page.state.view), page.show);
    if (!page.state.view) page.show("compare");
    mark();
    page.catalogueReady.then(() => {
      if (signal.aborted || page.restored) return;
      page.restored = true;
      [...kept.keys()].forEach(restore);
    });
  };
})();
