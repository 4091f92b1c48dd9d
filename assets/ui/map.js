// One map: every reference of a space as a point on a canvas, the query pinned at its place and tied to its matches.
// Points are drawn once per size and theme into a background layer; hovering redraws only what lies above it.
(() => {
  const page = (window.attributionPage ??= {});
  const PAD = 22;
  const REACH = 16; // pixels within which the pointer catches a point

  page.makeMap = (space, { on, heard, signal, announce }) => {
    const { make } = page;
    const canvas = make("canvas", { role: "img", tabindex: "0" });
    const tip = make("div", { class: "tip", hidden: true });
    const plot = make("div", { class: "plot" }, canvas, tip);
    const points = page.decode(space.coordinates);
    const n = points.length / 2;
    const groups = page.catalogue.words.group.index;
    const background = document.createElement("canvas");
    let width = 0;
    let height = 0;
    let scale = 1;
    let current = null; // the reference under the pointer or the keyboard, on this map
    let pin = null; // the query's picture once it is loaded
    let scheduled = false;

    const toX = (x) => PAD + x * (width - 2 * PAD);
    const toY = (y) => height - PAD - y * (height - 2 * PAD);
    const at = (id) => [toX(points[2 * id]), toY(points[2 * id + 1])];
    const colour = (name) => getComputedStyle(plot).getPropertyValue(name).trim();

    const drawBackground = () => {
      background.width = Math.round(width * scale);
      background.height = Math.round(height * scale);
      const context = background.getContext("2d");
      context.scale(scale, scale);
      const radius = Math.max(1.5, Math.min(4, (0.19 * width) / Math.sqrt(n)));
      const focus = page.state.group;
      context.strokeStyle = colour("--surface"); // a hairline keeps crowded marks apart
      context.lineWidth = 1.5;
      const byGroup = new Map();
      for (let id = 0; id < n; id++) {
        if (!byGroup.has(groups[id])) byGroup.set(groups[id], []);
        byGroup.get(groups[id]).push(id);
      }
      for (const [group, ids] of byGroup) {
        const { hue, shape } = page.groupMark(group);
        const lit = focus === null || focus === group;
        context.globalAlpha = lit ? (focus === null ? 0.7 : 0.95) : 0.1;
        context.fillStyle = hue;
        context.beginPath();
        for (const id of ids) page.traceShape(context, shape, ...at(id), radius);
        context.stroke();
        context.fill();
      }
    };

    const drawAbove = (context) => {
      const answer = page.state.answer;
      const part = answer?.spaces?.[space.id];
      const ink = colour("--ink");
      const paper = colour("--paper");
      const own = colour(`--${space.id}`);
      const truth = page.truth();
      const ring = (id, radius, style, line) => {
        context.beginPath();
        context.arc(...at(id), radius, 0, 2 * Math.PI);
        context.lineWidth = line;
        context.strokeStyle = style;
        context.stroke();
      };
      if (part) {
        const [qx, qy] = [toX(part.position[0]), toY(part.position[1])];
        context.lineCap = "round";
        for (const [id, , weight] of part.matches) {
          context.globalAlpha = 0.45 + 0.5 * Math.min(1, weight * 2);
          context.lineWidth = 1 + 4 * Math.sqrt(weight);
          context.strokeStyle = own;
          context.beginPath();
          context.moveTo(qx, qy);
          context.lineTo(...at(id));
          context.stroke();
        }
        context.globalAlpha = 1;
        part.matches.forEach(([id]) => {
          context.beginPath();
          context.arc(...at(id), 4.5, 0, 2 * Math.PI);
          context.fillStyle = own;
          context.fill();
          context.lineWidth = 1.5;
          context.strokeStyle = paper;
          context.stroke();
        });
        const [size, line] = truth.size === 1 ? [9, 2.5] : [6.5, 1.5]; // many rings must not hide the matches
        for (const id of truth) {
          if (truth.size === 1) ring(id, size, paper, 5);
          ring(id, size, colour("--truth"), line);
        }
        const above = part.matches.filter(([id]) => at(id)[1] < qy - 1).length;
        drawPin(context, qx, qy, 2 * above > part.matches.length, ink);
      }
      const linked = page.state.hover;
      if (linked !== null && linked < n) {
        ring(linked, 7, paper, 5);
        ring(linked, 7, ink, 2);
      }
    };

    // The query as a pin: its tip is the exact place, and its picture hangs on the side with fewer matches.
    const drawPin = (context, x, y, hanging, ink) => {
      const half = 19;
      const stem = 10;
      const room = stem + 2 * half + 4;
      const below = y < room || (hanging && y < height - room);
      const cx = Math.max(half + 2, Math.min(width - half - 2, x));
      const top = below ? y + stem : y - stem - 2 * half;
      context.beginPath();
      context.roundRect(cx - half - 2, top - 2, 2 * half + 4, 2 * half + 4, 5);
      const base = below ? top - 1 : top + 2 * half + 1;
      context.moveTo(cx - 6, base);
      context.lineTo(x, y);
      context.lineTo(cx + 6, base);
      context.closePath();
      context.fillStyle = ink;
      context.fill();
      if (!pin) return;
      context.save();
      context.beginPath();
      context.roundRect(cx - half, top, 2 * half, 2 * half, 3);
      context.clip();
      const side = Math.min(pin.naturalWidth, pin.naturalHeight);
      const [sx, sy] = [(pin.naturalWidth - side) / 2, (pin.naturalHeight - side) / 2];
      context.drawImage(pin, sx, sy, side, side, cx - half, top, 2 * half, 2 * half);
      context.restore();
    };

    const draw = () => {
      scheduled = false;
      if (!width || signal.aborted) return;
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(background, 0, 0);
      context.setTransform(scale, 0, 0, scale, 0, 0);
      drawAbove(context);
    };
    const schedule = () => {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(draw);
    };
    const redraw = () => {
      if (width) drawBackground();
      schedule();
    };

    const fit = () => {
      const box = plot.getBoundingClientRect();
      if (!box.width || !box.height) return;
      [width, height, scale] = [box.width, box.height, window.devicePixelRatio || 1];
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      redraw();
    };

    const nearest = (x, y) => {
      let best = null;
      let reach = REACH * REACH;
      for (let id = 0; id < n; id++) {
        const [px, py] = at(id);
        const distance = (px - x) ** 2 + (py - y) ** 2;
        if (distance < reach) [best, reach] = [id, distance];
      }
      return best;
    };

    // The closest point that lies within 45 degrees of the arrow's direction.
    const neighbour = (id, dx, dy) => {
      const [x, y] = at(id);
      let best = null;
      let reach = Infinity;
      for (let other = 0; other < n; other++) {
        const [ox, oy] = at(other);
        const along = (ox - x) * dx + (oy - y) * dy;
        const across = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
        if (other === id || along <= 0.5 || across > along) continue;
        const distance = along + 2 * across;
        if (distance < reach) [best, reach] = [other, distance];
      }
      return best;
    };

    const describe = (id) => {
      const match = page.matchesOf(space.id).get(id);
      if (!match) return page.reference(id).group;
      return `rank ${match.rank} \u00b7 similarity ${page.cosine(match.similarity)} \u00b7 weight ${page.percent(match.weight)}`;
    };

    const show = (id, spoken = false) => {
      current = id;
      page.set("hover", id);
      tip.hidden = id === null;
      canvas.style.cursor = id === null ? "" : "pointer";
      if (id === null) return;
      const reference = page.reference(id);
      const isTruth = page.truth().has(id);
      if (tip.dataset.ref !== String(id) || !tip.firstChild) {
        tip.dataset.ref = String(id);
        tip.replaceChildren(page.picture(reference.picture), make("span", { class: "title" }, reference.title), make("span", { class: "muted" }));
      }
      tip.lastChild.textContent = (isTruth ? "True source \u00b7 " : "") + describe(id);
      const [x, y] = at(id);
      const left = Math.max(4, Math.min(width - tip.offsetWidth - 4, x - tip.offsetWidth / 2));
      const above = y - tip.offsetHeight - 14;
      tip.style.transform = `translate(${left}px, ${above > 4 ? above : y + 14}px)`;
      if (spoken) announce(`${reference.title}, ${describe(id)}`);
    };

    on(canvas, "pointermove", (event) => {
      const id = nearest(event.offsetX, event.offsetY);
      if (id !== current) show(id);
    });
    on(canvas, "pointerleave", () => show(null));
    on(canvas, "blur", () => show(null));
    on(canvas, "click", (event) => {
      const id = nearest(event.offsetX, event.offsetY);
      if (id !== null) page.set("selected", { id, opener: canvas });
    });
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    on(canvas, "keydown", (event) => {
      if (event.key === "Enter" && current !== null) page.set("selected", { id: current, opener: canvas });
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      const first = page.state.answer?.spaces?.[space.id]?.matches[0]?.[0] ?? 0;
      const next = current === null ? first : neighbour(current, ...arrow);
      if (next !== null) show(next, true);
    });

    const setAnswer = () => {
      const answer = page.state.answer;
      const best = answer?.spaces?.[space.id]?.matches[0];
      const lead = `Map of ${n} pictures in the ${space.id} space.`;
      const place = best ? ` Your picture lies closest to ${page.reference(best[0]).title}.` : "";
      canvas.setAttribute("aria-label", `${lead}${place} Arrow keys move between pictures, Enter opens one.`);
      show(null);
      pin = null;
      const url = answer?.query?.url;
      if (url) {
        const image = new Image();
        image.onload = () => {
          if (page.state.answer !== answer) return;
          pin = image;
          schedule();
        };
        image.src = url;
      }
      schedule();
    };

    heard("answer", setAnswer);
    heard("hover", schedule);
    heard("group", redraw);
    const sizes = new ResizeObserver(fit);
    sizes.observe(plot);
    const theme = new MutationObserver(redraw);
    theme.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    signal.addEventListener("abort", () => {
      sizes.disconnect();
      theme.disconnect();
    });
    setAnswer();
    return plot;
  };
})();
