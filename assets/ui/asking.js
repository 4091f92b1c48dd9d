// What is asked: a bundled query, a picture of the collection searched again, or a visitor's own; with k and the filter. The way
// back, and what of it goes into the address.
(() => {
  const page = (window.attributionPage ??= {});
  const FIELDS = ["group", "source", "licence"];
  const OPENING = "Opening the link\u2026";
  const WAIT = "Looking it up\u2026";

  // The filter as the server takes it, {} for none.
  const plainFilter = () => {
    const filter = page.state.filter ?? {};
    return Object.fromEntries(FIELDS.filter((field) => filter[field]?.size).map((field) => [field, [...filter[field]].sort()]));
  };
  page.filterText = () => JSON.stringify(plainFilter());

  // Whether the filter lets a reference pass.
  page.passes = (id) =>
    FIELDS.every((field) => {
      const { values, index } = page.catalogue.words[field];
      const wanted = page.state.filter?.[field];
      return !wanted?.size || wanted.has(values[index[id]]);
    });

  page.setFilter = (filter) => {
    const kept = Object.fromEntries(FIELDS.map((field) => [field, filter?.[field]?.size ? new Set(filter[field]) : null]));
    page.set("filter", FIELDS.some((field) => kept[field]) ? kept : null);
  };

  // In the address a filter reads group:birds|group:sea life|licence:CC0-1.0; a bar within a word is written %7C.
  const write = (word) => word.replaceAll("%", "%25").replaceAll("|", "%7C");
  const read = (word) => word.replaceAll("%7C", "|").replaceAll("%25", "%");
  const filterAddress = () =>
    Object.entries(plainFilter())
      .flatMap(([field, words]) => words.map((word) => `${field}:${write(word)}`))
      .join("|");
  const readFilter = (text) => {
    const filter = {};
    for (const part of text.split("|")) {
      const [field, ...rest] = part.split(":");
      if (FIELDS.includes(field)) (filter[field] ??= new Set()).add(read(rest.join(":")));
    }
    page.setFilter(filter);
  };

  const plain = (path) => path?.replaceAll("\\", "/") ?? null;
  const pathOf = (url) => plain(url && decodeURIComponent(url.replace(/^.*?gradio_api\/file=/, "")));
  const count = (text) => (/^\d{1,9}$/.test(text) ? Number(text) : null);

  // Called when the examples are mounted: `again` hands in a visitor's file once more, `trigger` speaks to the server.
  page.startAsking = ({ trigger, again, heard, first, opened, choices }) => {
    let asked = { kind: "none" };
    let file = null; // the visitor's last file, so that there is a way back to it
    let sent = null; // where the server has the picture that was sent last
    let boxed = pathOf(opened); // the same of the picture in the box
    let k = null;
    let touched = false; // until something is asked, the address stays as it came
    const trail = [];
    const names = ["query", "reference", "k", "filter"];
    const address = new URLSearchParams(window.location.search);
    page.opening = !page.restored && names.some((name) => address.has(name));

    const send = () => {
      touched = true;
      if (asked.kind === "none") return;
      page.busy(page.opening ? OPENING : WAIT);
      if (asked.kind === "upload") trigger("apply", {});
      else trigger("select", { index: asked.id, value: { kind: asked.kind, k, filter: plainFilter(), opening: page.opening } });
    };
    const askFor = (what) => {
      asked = what;
      if (what.kind === "upload") again(file);
      else send();
    };

    page.ask = (id) => {
      trail.length = 0;
      askFor({ kind: "query", id });
    };
    page.askReference = (id) => {
      if (asked.kind === "reference" && asked.id === id) return;
      if (asked.kind !== "none") trail.push(asked);
      askFor({ kind: "reference", id });
    };
    page.chooseK = (number) => {
      k = number;
      send();
    };
    // Called with the uploaded picture, when it is in its box: from now on its answer is the one to come.
    page.sending = (image, number) => {
      asked = { kind: "upload" };
      page.busy(WAIT);
      return page.again(image, number);
    };
    page.again = (image, number) => {
      sent = boxed = plain(image?.path);
      return [image, k ?? number, page.filterText()];
    };
    page.cleared = () => {
      asked = { kind: "none" };
      touched = true;
      boxed = null;
      page.busy(null);
      page.set("answer", { serial: -1, status: "empty" });
    };
    // The picture of the answer that is shown, as the box wants it.
    page.boxed = () => {
      const { url } = page.state.answer.query;
      const path = pathOf(url);
      return { path, url: new URL(url, document.baseURI).href, orig_name: path.split("/").at(-1), meta: { _type: "gradio.FileData" } };
    };
    const isOther = ({ id, reference, url }) => {
      if (asked.kind === "none") return touched; // taken away meanwhile
      if (asked.kind === "query") return id !== asked.id;
      if (asked.kind === "reference") return reference !== asked.id;
      return id !== undefined || reference !== undefined || pathOf(url) !== sent;
    };
    // An answer to another question, or for settings that have changed since: the one that is wanted is on its way.
    page.isStale = (answer) => {
      if (answer.status !== "answer") return false;
      if (isOther(answer.query)) return true;
      const [then, now] = [answer.gallery?.filter ?? {}, plainFilter()];
      const same = FIELDS.every((field) => then[field]?.length === now[field]?.length && (then[field] ?? []).every((word) => now[field].includes(word)));
      return !same || (k !== null && answer.k !== k);
    };
    page.refresh = send; // the same once more, with the settings as they are now

    // Where a way back leads: {text, go}, or null when there is none.
    page.wayBack = () => {
      if (asked.kind !== "reference") return null;
      const to = trail.at(-1) ?? (first === undefined ? null : { kind: "query", id: first });
      if (!to || (to.kind === "upload" && !file)) return null;
      const text = { query: trail.length ? "Back to the synthetic picture" : "To the examples", upload: "Back to your picture" }[to.kind];
      const go = () => {
        trail.pop();
        askFor(to);
      };
      return { text: text ?? `Back to \u201c${page.reference(to.id).title}\u201d`, go };
    };

    // Why what is shown has no address of its own; null when it has one.
    page.noLink = () =>
      asked.kind === "upload" ? "A picture of your own has no link: it is not kept on the server. Its answer can be taken away as a file." : null;

    page.heldFile = (given) => {
      file = given;
      sent = null;
      touched = true;
      asked = { kind: "upload" };
      trail.length = 0;
    };

    heard("answer", () => {
      const answer = page.state.answer;
      if (answer?.status !== "answer") return;
      const { id, reference, url } = answer.query;
      if (boxed !== pathOf(url)) {
        boxed = pathOf(url);
        trigger("example_select", {});
      }
      asked = id !== undefined ? { kind: "query", id } : reference !== undefined ? { kind: "reference", id: reference } : { kind: "upload" };
      k = answer.k;
      page.set("settings", { ...page.state.settings, k });
      if (touched) page.remember();
    });

    // What the address asks for is gathered first and asked once.
    let pending = false;
    const open = (change) => {
      change();
      if (pending) return;
      pending = true;
      setTimeout(() => {
        pending = false;
        if (asked.kind === "none" && first !== undefined) asked = { kind: "query", id: first };
        if (asked.kind === "none") page.opening = false;
        send();
      });
    };
    const isAsked = (kind) => (asked.kind === kind ? String(asked.id) : null);
    page.keep("query", () => isAsked("query"), (text) => open(() => (asked = { kind: "query", id: count(text) ?? -1 })));
    page.keep("reference", () => isAsked("reference"), (text) => open(() => (asked = { kind: "reference", id: count(text) ?? -1 })));
    page.keep("k", () => (k === null ? null : String(k)), (text) => open(() => (k = choices.includes(count(text)) ? count(text) : null)));
    page.keep("filter", filterAddress, (text) => open(() => readFilter(text)));
  };
})();
