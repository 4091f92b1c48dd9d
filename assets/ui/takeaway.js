// Take away: files, reports and links of what is shown.
(() => {
  const page = (window.attributionPage ??= {});

  page.mountTakeaway = (element) => {
    page.mount("takeaway");
  };
})();
