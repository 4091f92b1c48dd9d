// Numbers as the page writes them.

export const percentText = (share) => {
  const percent = 100 * share;
  if (percent > 0 && percent < 0.5) return "<1%";
  return percent < 100 && percent > 99.5 ? ">99%" : `${Math.round(percent)}%`;
};
// The share of an answer: an estimate says so wherever it stands.
export const shareText = (share, estimated) => (estimated ? "\u2248\u00a0" : "") + percentText(share);
export const fixedText = (value, digits) => value.toFixed(digits).replace("-", "\u2212");
export const cosineText = (similarity) => fixedText(similarity, 3);
export const countText = (n) => n.toLocaleString("en-GB");
