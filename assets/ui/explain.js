// Explain a match: where in the two pictures a space finds what they share.
(() => {
  const page = (window.attributionPage ??= {});

  page.mountExplain = (element) => {
    page.mount("explain");
  };
})();
