// Inspect: every evaluated query, what each space made of it, and where a space fails.
(() => {
  const page = (window.attributionPage ??= {});

  page.mountInspect = (element) => {
    page.mount("inspect");
  };
})();
