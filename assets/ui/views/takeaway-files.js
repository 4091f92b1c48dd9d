// Files of the answer shown, made in the browser from what it already has: JSON as the public API gives it, and CSV.
import { linkHere } from "../core/address.js";
import { noLink } from "../core/asking.js";
import { csvText } from "../core/files.js";
import { subjectOf } from "../core/match.js";
import { referenceOf } from "../core/state.js";

const FIELDS = ["title", "source", "licence", "author", "url", "concept", "group"];

// Letters and digits of any script, for a file's name.
export const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "picture";

export const answerName = (query) => {
  const { kind, id } = subjectOf(query);
  return id === undefined ? kind : `${kind}-${id}`;
};

// As /attribute answers, with what was asked added. An upload's picture is named by nothing: its address ends with the day.
export const answerJson = (answer, stamp) => {
  const { query, k, gallery, spaces, verdict } = answer;
  const { url, ...asked } = query;
  const named = new Set(Object.values(spaces).flatMap(({ matches }) => matches.map(({ id }) => id)));
  const references = [...named].sort((a, b) => a - b).map((id) => [id, Object.fromEntries(FIELDS.map((field) => [field, referenceOf(id)[field]]))]);
  const parts = Object.entries(spaces).map(([space, { matches, remainder, elsewhere, position, estimated }]) => {
    const found = matches.map(({ id, ...figures }) => ({ reference_id: id, ...figures }));
    return [space, { space, matches: found, remainder, elsewhere, position, ...(estimated ? { estimated } : {}) }];
  });
  const link = noLink?.() ? null : linkHere();
  return { ...Object.fromEntries(parts), verdict, k, query: asked, filter: gallery?.filter ?? null, references: Object.fromEntries(references), stamp, link };
};

export const answerCsv = (answer) => {
  const truth = new Set(answer.query.truth ?? []);
  const rows = Object.entries(answer.spaces).flatMap(([space, { matches, elsewhere, remainder }]) => [
    ...matches.map(({ id, rank, similarity, weight }) => {
      const reference = referenceOf(id);
      const isTruth = answer.query.truth?.length ? truth.has(id) : null;
      return [space, "match", rank, id, similarity, weight, isTruth, ...FIELDS.map((field) => reference[field])];
    }),
    [space, "elsewhere", null, null, null, elsewhere],
    [space, "none of these", null, null, null, remainder],
  ]);
  const head = ["space", "kind", "rank", "reference_id", "similarity", "weight", "true_source", ...FIELDS];
  if (!Object.values(answer.spaces).some(({ estimated }) => estimated)) return csvText([head, ...rows]);
  const told = rows.map((row) => [...row, ...Array(head.length - row.length).fill(null), Boolean(answer.spaces[row[0]].estimated)]);
  return csvText([[...head, "weight_is_estimate"], ...told]);
};
