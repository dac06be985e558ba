// The text of edits as the library reads it, "smile=+2,age=-1,keep=glasses": cycle_core/directions/text.py.

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const INPUT = /^number_\d+$/; // a number that another node gives

/**
 * The changes of a text, in their order: [{name, to, amount, options}], where `amount` is a number
 * or the name of an input, and `options` are the parts such as "keep=glasses" that follow one. Null where the text cannot be read; why is said by
 * the node when it runs.
 */
export function parse(text) {
  const changes = [];
  if (!text.trim()) return changes;
  for (const part of text.split(",").map((one) => one.trim())) {
    const at = part.lastIndexOf("=");
    const to = part[at - 1] === ":";
    const name = part.slice(0, to ? at - 1 : at).trim();
    const value = part.slice(at + 1).trim();
    if (at < 0 || !name || !value) return null;
    if (["keep", "layers"].includes(name) && !to) {
      if (!changes.length) return null;
      changes.at(-1).options.push(part);
    } else {
      if (!NUMBER.test(value) && !INPUT.test(value)) return null;
      const amount = INPUT.test(value) ? value : Number(value);
      changes.push({ name, to, amount, options: [] });
    }
  }
  return changes;
}

/** The text of changes; `parse` gives the same changes back. */
export function format(changes) {
  return changes
    .map(({ name, to, amount, options }) => {
      const sign = to ? ":=" : amount < 0 || typeof amount === "string" ? "=" : "=+";
      return [`${name}${sign}${amount}`, ...options].join(",");
    })
    .join(",");
}

/** The changes after the amount of one was set: a new list. Nothing is written of a mere 0. */
export function withAmount(changes, name, amount) {
  const old = changes.find((one) => one.name === name);
  if (!old) return amount ? [...changes, { name, to: false, amount, options: [] }] : changes;
  if (!amount && !old.to && !old.options.length) return without(changes, name);
  return changes.map((one) => (one === old ? { ...one, amount } : one));
}

/** The changes without that of a direction: a new list. */
export function without(changes, name) {
  return changes.filter((one) => one.name !== name);
}
