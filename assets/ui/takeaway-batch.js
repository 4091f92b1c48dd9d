// Many files at once: one after the other is sent and answered; a table grows, and becomes a CSV or one report.
(() => {
  const page = (window.attributionPage ??= {});
  const K = 8; // pictures compared per space; the verdict "no convincing source" speaks of these

  page.makeBatch = ({ part: { on }, server, upload, most, accept }) => {
    const { make } = page;
    const input = make("input", { type: "file", multiple: true, accept, hidden: true, "aria-label": "Choose several pictures" });
    const choose = make("button", { type: "button", class: "take" }, "Choose files");
    const stop = make("button", { type: "button", class: "take", hidden: true }, "Stop");
    const csv = make("button", { type: "button", class: "take", hidden: true }, "Table (CSV)");
    const report = make("button", { type: "button", class: "take", hidden: true }, "One report (HTML)");
    const status = make("p", { class: "takeaway-status", role: "status" });
    const progress = make("progress", { hidden: true, max: "1", value: "0", "aria-label": "Pictures compared" });
    const body = make("tbody");
    const scroller = make("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Results of many pictures", hidden: true });
    let rows = []; // {name, path, reply} or {name, error}
    let isStopped = false;
    let isRunning = false;

    const settings = () => ({ k: K, filter: JSON.parse(page.filterText?.() ?? "{}") });

    const fill = () => {
      const heads = page.catalogue.spaces.map(({ id, name }) => make("th", { scope: "col", "data-space": id }, name));
      scroller.replaceChildren(make("table", { class: "batch" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "File"), ...heads)), body));
      body.replaceChildren();
    };

    const cell = ({ best, remainder, convincing, estimated }, space) => {
      if (!best) return make("td", {}, "nothing to compare with");
      const [id, , weight] = best;
      const { title, picture } = page.reference(id);
      return make(
        "td",
        { "data-space": space },
        make(
          "span",
          { class: "batch-best" },
          page.picture(picture, { loading: "lazy" }),
          make(
            "span",
            {},
            make("span", { class: "title" }, title),
            make("span", { class: "muted number" }, `${page.share(weight, estimated)}, none of these ${page.share(remainder, estimated)}`),
            convincing ? null : make("b", {}, "No convincing source"),
          ),
        ),
      );
    };

    const add = (row) => {
      rows.push(row);
      const name = make("th", { scope: "row" }, row.name);
      const cells = row.error
        ? [make("td", { colspan: "3", class: "batch-error" }, row.error)]
        : page.catalogue.spaces.map(({ id }) => cell(row.reply.spaces[id], id));
      body.append(make("tr", {}, name, ...cells));
    };

    const refusal = ({ type, size }) => {
      const limit = page.catalogue.max_bytes;
      if (!type.startsWith("image/")) return "A picture file is needed, such as PNG, JPEG or WebP; this is none by its name.";
      return size > limit ? `A picture file may have at most ${limit / 1e6} MB; this has ${(size / 1e6).toFixed(1)} MB. Scale it down or save it as JPEG.` : null;
    };

    const compare = async (file) => {
      const refused = refusal(file);
      if (refused) return { name: file.name, error: refused };
      try {
        const { path } = await upload(file);
        const reply = await server.takeaway_answer({ path, ...settings() });
        return reply?.spaces ? { name: file.name, path, reply } : { name: file.name, error: reply?.error ?? "The server did not answer." };
      } catch {
        return { name: file.name, error: "This file did not reach the server. Please try it once more." };
      }
    };

    const run = async (given) => {
      if (isRunning || !given.length) return;
      const files = [...given].slice(0, most);
      [isRunning, isStopped, rows] = [true, false, []];
      fill();
      scroller.hidden = progress.hidden = stop.hidden = false;
      choose.disabled = csv.hidden = report.hidden = true;
      element.scrollIntoView({ block: "start" });
      progress.max = files.length;
      progress.value = 0;
      for (const [i, file] of files.entries()) {
        if (isStopped) break;
        status.textContent = `Comparing ${i + 1} of ${files.length}\u2026`;
        add(await compare(file));
        progress.value = i + 1;
      }
      isRunning = choose.disabled = false;
      stop.hidden = progress.hidden = true;
      const failed = rows.filter(({ error }) => error).length;
      csv.hidden = !rows.length;
      report.hidden = rows.length === failed;
      const parts = [`${rows.length - failed} of ${given.length} pictures compared`];
      if (failed) parts.push(`${failed} could not be`);
      if (given.length > most) parts.push(`at most ${most} are taken at a time`);
      if (isStopped) parts.push("stopped");
      status.textContent = `${parts.join("; ")}.`;
    };

    const table = () => {
      const { spaces } = page.catalogue;
      const heads = spaces.flatMap(({ id }) => ["best_id", "best_title", "similarity", "weight", "remainder", "convincing"].map((name) => `${id}_${name}`));
      const figures = ({ best, remainder, convincing }) => [best?.[0], best ? page.reference(best[0]).title : null, best?.[1], best?.[2], remainder, convincing];
      return page.csv([
        ["file", ...heads, "error"],
        ...rows.map(({ name, reply, error }) => [name, ...(reply ? spaces.flatMap(({ id }) => figures(reply.spaces[id])) : heads.map(() => null)), error ?? null]),
      ]);
    };

    on(choose, "click", () => input.click());
    on(input, "change", (event) => {
      event.stopPropagation();
      const files = [...input.files];
      input.value = "";
      run(files);
    });
    on(stop, "click", () => (isStopped = true));
    on(csv, "click", () => page.download("attributions.csv", table(), "text/csv"));
    on(report, "click", async () => {
      report.disabled = true;
      status.textContent = "Making the report\u2026";
      try {
        const cases = rows.filter(({ path }) => path).map(({ name, path }) => ({ kind: "upload", path, name }));
        const html = await page.askReport({ cases, refused: rows.filter(({ error }) => error).map(({ name, error }) => [name, error]), ...settings() });
        page.download("attributions.html", html, "text/html");
        status.textContent = "The report is saved: one file, with its pictures in it.";
      } catch (error) {
        status.textContent = `The report could not be made: ${error.message}`;
      }
      report.disabled = false;
    });

    // Several files dropped anywhere come here; on the window, so before the part that takes a single one.
    const several = (event) => (event.dataTransfer?.files.length > 1 && !page.state.talk ? [...event.dataTransfer.files] : null);
    on(
      window,
      "drop",
      (event) => {
        const files = several(event);
        if (!files) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        page.openTakeaway();
        run(files);
      },
      { capture: true },
    );

    const element = make(
      "section",
      { class: "takeaway-batch", "aria-labelledby": "batch-title" },
      make("h3", { id: "batch-title" }, "Many pictures"),
      make("p", { class: "muted" }, `Choose up to ${most} files, or drop several anywhere on the page. They are compared one by one on this server and deleted within a day.`),
      make("div", { class: "takes" }, choose, stop, csv, report, input),
      progress,
      status,
      scroller,
    );
    return { element, run };
  };
})();
