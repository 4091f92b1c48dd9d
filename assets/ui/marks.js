// How a concept group looks on the maps: seven colour-blind safe hues, each in up to three shapes.
(() => {
  const page = (window.attributionPage ??= {});
  const HUES = { light: ["#4477aa", "#cc5a37", "#228833", "#a07d12", "#1f8fb8", "#aa3377", "#777777"] };
  HUES.dark = ["#7ba7d9", "#ef8a68", "#5dbb6b", "#d8b84e", "#73cbe8", "#d974ac", "#a8a8a8"];
  const SHAPES = ["circle", "square", "triangle"];
  const N_NAMED = 21;

  page.isDark = () => document.body.classList.contains("dark") || document.documentElement.classList.contains("dark");

  // Groups beyond the 21 that can be told apart share the last mark, and the legend says so.
  page.groupMark = (group) => {
    const i = Math.min(group, N_NAMED - 1);
    return { hue: HUES[page.isDark() ? "dark" : "light"][i % 7], shape: SHAPES[Math.floor(i / 7)] };
  };
  page.nNamedGroups = N_NAMED;

  page.traceShape = (context, shape, x, y, r) => {
    if (shape === "circle") {
      context.moveTo(x + r, y);
      context.arc(x, y, r, 0, 2 * Math.PI);
    } else if (shape === "square") {
      const h = r * 0.9;
      context.rect(x - h, y - h, 2 * h, 2 * h);
    } else {
      const h = r * 1.25;
      context.moveTo(x, y - h);
      context.lineTo(x + h, y + h * 0.8);
      context.lineTo(x - h, y + h * 0.8);
      context.closePath();
    }
  };
})();
