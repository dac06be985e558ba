// Names of directions under a text of edits while they are typed: "smle" offers "smile".

const MOST = 8; // names in the list
const OPTIONS = ["keep", "layers"]; // of a change: no directions
let count = 0;

/** The name that ends at or goes on after the caret: {from, to, word, kept}; null where a number is
 * typed, or something is selected. kept: it stands behind "keep=". */
export function typed(text, caret) {
  const start = text.slice(0, caret).lastIndexOf(",") + 1;
  const end = text.indexOf(",", caret);
  const part = text.slice(start, end < 0 ? text.length : end);
  const at = part.search(/:?=/);
  const kept = at >= 0 && part.slice(0, at).trim() === "keep" && caret > start + at;
  let [from, to] = [start, start + (at < 0 ? part.length : at)];
  if (kept) {
    from = Math.max(text.slice(0, caret).lastIndexOf("+"), start + part.indexOf("=")) + 1;
    to = caret + text.slice(caret, start + part.length).split("+")[0].length;
  }
  if (caret > to) return null;
  const word = text.slice(from, to);
  from += word.length - word.trimStart().length;
  return { from, to: from + word.trim().length, word: word.trim(), kept };
}

/** Those of [{name, label}] that a word may mean, the likeliest first: what begins with it, what has
 * it inside, and what it misses by a letter or two. None where it is one of them already. */
export function meant(word, known) {
  const given = word.toLowerCase();
  if (!given || OPTIONS.includes(given) || known.some(({ name }) => name === word)) return [];
  const far = ({ name, label }) => {
    const texts = [name, label].map((one) => one.toLowerCase());
    if (texts.some((one) => one.startsWith(given))) return 0;
    if (texts.some((one) => one.split(/[_ :,]/).some((part) => part.startsWith(given)))) return 0.3;
    if (given.length > 1 && texts.some((one) => one.includes(given))) return 0.6;
    // an entry of a file may be right though it is not listed
    return given.includes(":") ? Infinity : Math.min(...texts.map((one) => typos(given, one)));
  };
  const most = given.length < 3 ? 0.6 : given.length < 6 ? 1 : 2;
  return known
    .map((one) => [far(one), one])
    .filter(([distance]) => distance <= most)
    .sort(([a], [b]) => a - b)
    .slice(0, MOST)
    .map(([, one]) => one);
}

/** Letters that are missing, too many, other or exchanged in a word, where it may be the beginning
 * of a name. */
function typos(word, name) {
  const rows = [[...Array(name.length + 1).keys()]];
  for (let i = 1; i <= word.length; i++) {
    rows.push([i]);
    for (let j = 1; j <= name.length; j++) {
      const same = word[i - 1] === name[j - 1] ? 0 : 1;
      let least = Math.min(rows[i - 1][j - 1] + same, rows[i - 1][j] + 1, rows[i][j - 1] + 1);
      const exchanged = i > 1 && j > 1 && word[i - 1] === name[j - 2] && word[i - 2] === name[j - 1];
      if (exchanged) least = Math.min(least, rows[i - 2][j - 2] + 1);
      rows[i].push(least);
    }
  }
  return Math.min(...rows[word.length]);
}

/** Offer names in a list under a text field. known(): [{name, label}]. */
export function offerNames(field, known) {
  const list = document.createElement("ul");
  const id = `cycle-names-${count++}`;
  list.className = "cycle-names";
  let names = [];
  let place = null; // of the name that is typed
  let caret = 0;
  let chosen = 0;
  Object.assign(list, { id, role: "listbox" });
  for (const [name, value] of Object.entries({ autocomplete: "list", controls: id, expanded: false }))
    field.setAttribute(`aria-${name}`, value);
  Object.assign(field, { role: "combobox", autocomplete: "off" });

  function look() {
    const { selectionStart, selectionEnd, value } = field;
    place = selectionStart === selectionEnd ? typed(value, selectionStart) : null;
    names = place ? meant(place.word, known()) : [];
    caret = selectionEnd;
    if (!names.length) return close();
    list.replaceChildren(...names.map(option));
    choose(0);
    field.setAttribute("aria-expanded", true);
    if (list.isConnected) return;
    document.body.append(list); // the node would cut it off
    follow();
  }

  function option({ name, label }, index) {
    const one = document.createElement("li");
    Object.assign(one, { id: `${id}-${index}`, role: "option", textContent: name });
    if (label.toLowerCase() !== name) {
      one.append(Object.assign(document.createElement("span"), { textContent: label }));
    }
    one.onpointermove = () => choose(index); // a list that opens under it chooses nothing
    one.onpointerdown = (event) => {
      event.preventDefault(); // the field keeps the focus
      event.stopPropagation();
      take(index);
    };
    return one;
  }

  function choose(index) {
    chosen = (index + names.length) % names.length;
    [...list.children].forEach((one, at) => one.setAttribute("aria-selected", at === chosen));
    list.children[chosen].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", list.children[chosen].id);
  }

  function take(index) {
    const { from, to, kept } = place;
    const { name } = names[index];
    const sign = kept || /^\s*:?=/.test(field.value.slice(to)) ? "" : "=";
    field.setSelectionRange(from, to);
    // as if it was typed: it can be undone, and leaving the field is a change
    document.execCommand("insertText", false, name + sign);
    close();
  }

  function close() {
    list.remove();
    names = [];
    field.setAttribute("aria-expanded", false);
    field.removeAttribute("aria-activedescendant");
  }

  /** The field moves with its node, and is as large as the canvas shows it. */
  function follow() {
    if (!list.isConnected) return;
    if (!field.isConnected) return close();
    const { left, top, bottom, width, height } = field.getBoundingClientRect();
    const fontSize = `${Math.max(11, (12 * height) / field.offsetHeight)}px`;
    Object.assign(list.style, { left: `${left}px`, minWidth: `${width}px`, fontSize });
    const above = bottom + list.offsetHeight > innerHeight;
    list.style.top = `${above ? top - list.offsetHeight : bottom}px`;
    requestAnimationFrame(follow);
  }

  const keys = {
    ArrowDown: () => choose(chosen + 1),
    ArrowUp: () => choose(chosen - 1),
    Enter: () => take(chosen),
    Tab: () => take(chosen),
    Escape: close,
  };
  field.addEventListener("input", look);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (!names.length || event.isComposing || !(event.key in keys)) return;
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  // moved or selected, as by Ctrl+A: what was offered is of another place
  field.addEventListener("selectionchange", () => {
    const { selectionStart, selectionEnd } = field;
    if (names.length && (selectionStart !== caret || selectionEnd !== caret)) close();
  });
  field.addEventListener("click", close);
}
