// Talk mode: a guided story on bundled cases, for a room.
(() => {
  const page = (window.attributionPage ??= {});

  page.mountTalk = (element) => {
    page.mount("talk");
  };
})();
