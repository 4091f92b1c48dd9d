// The strip of bundled examples under the query, the caption of what is shown, and paste or drop anywhere on the page.
(() => {
  const page = (window.attributionPage ??= {});

  page.mountExamples = (element, props, trigger) => {
    const { make, picture } = page;
    const { on, heard } = page.mount("examples");
    const picker = () => document.querySelector("#query-picture input[type=file]");
    page.setCatalogue(props.value);

    const caption = make("p", { class: "query-caption", "aria-live": "polite" });
    const strip = make("div", { class: "strip", role: "group", "aria-label": "Bundled examples" });
    const buttons = props.value.examples.map((example, index) => {
      const button = make(
        "button",
        { type: "button", class: "example", "data-query": example.id, "aria-pressed": "false" },
        picture(example.url, { alt: `Example ${index + 1}`, loading: "lazy" }),
        make("span", {}, example.label),
      );
      on(button, "click", () => {
        page.busy("Looking it up\u2026");
        trigger("select", { index: example.id, value: example.id });
      });
      return button;
    });
    strip.append(...buttons);
    const heading = buttons.length ? make("h2", { class: "label" }, "Or try one of these") : null;
    const choose = make("button", { type: "button" }, "Choose a file");
    on(choose, "click", () => picker()?.click());
    const offerLine = make("p", { class: "offer" }, choose, "or drop or paste one");
    element.querySelector(".slot").replaceChildren(...[caption, offerLine, heading, strip].filter(Boolean));

    heard("answer", () => {
      const query = page.state.answer?.query;
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.query) === query?.id)));
      if (!query) caption.textContent = "";
      else if (query.id === undefined) caption.textContent = "Your picture. Its true source is not known to us.";
      else {
        const known = query.truth.length ? "True source known." : "";
        const maker = query.generator ? ` \u00b7 made by ${query.generator}` : "";
        caption.textContent = `${query.label}${maker}. ${known}`;
      }
    });

    // A picture pasted or dropped anywhere goes the same way as a picked file.
    const offer = (files) => {
      const file = [...(files ?? [])].find((one) => one.type.startsWith("image/"));
      if (!file || !picker()) return false;
      const transfer = new DataTransfer();
      transfer.items.add(file);
      picker().files = transfer.files;
      picker().dispatchEvent(new Event("change", { bubbles: true }));
      return true;
    };
    on(document, "paste", (event) => {
      if (offer(event.clipboardData?.files)) event.preventDefault();
    });
    on(document, "dragover", (event) => {
      if ([...(event.dataTransfer?.types ?? [])].includes("Files")) event.preventDefault();
    });
    on(document, "drop", (event) => {
      if (event.target.closest?.("#query-picture input, #query-picture button")) return;
      if (event.dataTransfer?.files.length) {
        event.preventDefault();
        offer(event.dataTransfer.files);
      }
    });
  };
})();
