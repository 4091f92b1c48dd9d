// Why it works: the theory, measured on this collection, and a small toy.
(() => {
  const page = (window.attributionPage ??= {});

  page.mountWhy = (element) => {
    page.mount("why");
  };
})();
