// Numbers as the server packs them: little-endian integers as base64.

const KINDS = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };

export const readBytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
export const readNumbers = ({ bits, data }) => new KINDS[bits](readBytes(data).buffer);

// Words of n things, {field: {values, index}}: each word once, and for each thing which of them it has.
const eachOf = (words, read) => Object.fromEntries(Object.entries(words).map(([field, { values, index }]) => [field, read(values, index)]));
export const readWords = (words) => eachOf(words, (values, index) => ({ values, index: Uint32Array.from(readNumbers(index)) }));
export const wordsAt = (words, i) => eachOf(words, (values, index) => values[index[i]]);
