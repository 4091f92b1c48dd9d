// The picture and words of the point under the pointer or the keyboard.
(() => {
  const page = (window.attributionPage ??= {});

  page.makeTip = (map) => {
    const { make } = page;
    const element = make("div", { class: "tip", hidden: true });

    const standing = (id) => {
      const { space } = map.view.layers().reduce((a, b) => (b.strength > a.strength ? b : a));
      const match = page.matchesOf(space).get(id);
      const { values, index } = page.colouring();
      if (!match) return values[index[id]] || "not stated";
      return `rank ${match.rank} \u00b7 similarity ${page.cosine(match.similarity)} \u00b7 weight ${page.share(match.weight, match.estimated)}`;
    };

    const show = (id) => {
      element.hidden = id === null;
      if (id === null) return;
      const reference = page.reference(id);
      if (element.dataset.ref !== String(id) || !element.firstChild) {
        element.dataset.ref = String(id);
        element.replaceChildren(page.picture(reference.picture), make("span", { class: "title" }, reference.title), make("span", { class: "muted" }));
      }
      element.lastChild.textContent = (page.truth().has(id) ? "True source \u00b7 " : "") + standing(id);
      const [x, y] = map.at(id);
      const left = Math.max(4, Math.min(map.width - element.offsetWidth - 4, x - element.offsetWidth / 2));
      const above = y - element.offsetHeight - 14;
      element.style.transform = `translate(${left}px, ${above > 4 ? above : y + 14}px)`;
    };
    return { element, show, words: (id) => `${page.reference(id).title}, ${standing(id)}` };
  };
})();
