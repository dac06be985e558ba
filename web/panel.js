// What is seen in the node: a picture, and sliders in groups.

import { format, parse, without, withAmount } from "./edits.js";
import { offerNames } from "./names.js";
import { t } from "./texts.js";

const STEP = 0.1;
const UNKNOWN = "Not in this generator";

/**
 * element: what to show. `actions`: change(text, finished), called while a slider moves and, with
 * finished, when it rests; choose(index), which code of the batch to show; undo() and redo().
 */
export class Panel {
  #actions;
  #changes = [];
  #readable = true;
  #text = "";
  #sliders = [];
  #rows = new Map(); // name -> row of a group that was opened
  #groups = new Map(); // name -> its details element
  #top = 0; // how far the list is scrolled, and whose slider has the focus:
  #focus; // known after the element has left the page, too
  #latest; // the picture that came last

  constructor(actions) {
    addStyle();
    this.#actions = actions;
    this.image = make("canvas", { className: "picture", role: "img", hidden: true });
    this.image.setAttribute("aria-label", t("The edited picture"));
    this.hint = make("p", { className: "hint" });
    this.batch = make("div", { className: "batch", hidden: true });
    this.count = make("span", { className: "count" });
    this.reset = make("button", { type: "button", textContent: t("Reset all") });
    this.list = make("div", { className: "list" });
    this.list.dataset.captureWheel = "true"; // it scrolls, and the canvas does not zoom
    this.text = make("input", { className: "text", type: "text", spellcheck: false });
    this.text.placeholder = "smile=+2,age=-1";
    this.text.title = t("The same as text, for programs and the command line");
    this.text.setAttribute("aria-label", t("Edits as text"));
    this.says = make("p", { className: "says" });
    this.says.setAttribute("role", "status");
    this.controls = make("fieldset", { className: "controls" }, [
      make("div", { className: "bar" }, [this.count, this.reset]),
      this.list,
      this.text,
      this.says,
    ]);
    const shown = make("div", { className: "shown" }, [this.image, this.hint, this.batch]);
    const inside = make("div", { className: "inside" }, [shown, this.controls]);
    this.element = make("div", { className: "cycle-latent-editor" }, [inside]);
    this.reset.onclick = () => this.#set([], true);
    this.text.onchange = () => this.#actions.change(this.text.value.trim(), true);
    offerNames(this.text, () => this.#sliders.map(({ name, label }) => ({ name, label: t(label) })));
    this.list.onscroll = () => {
      if (this.element.isConnected) this.#top = this.list.scrollTop;
    };
    this.list.addEventListener("focusin", ({ target }) => {
      this.#focus = target.closest(".row")?.dataset.name;
    });
    this.element.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget) this.#focus = undefined; // not where the element is taken away
    });
    for (const kind of ["pointerdown", "dblclick", "keydown"]) {
      this.element.addEventListener(kind, (event) => this.#keep(event));
    }
    this.setText("");
    this.say("");
  }

  /** sliders: [{name, label, group, meaning, most}] in their order; `open`: names of groups. */
  setSliders(sliders, open = [sliders[0]?.group]) {
    if (JSON.stringify(sliders) === JSON.stringify(this.#sliders)) return;
    this.#sliders = sliders;
    this.#rows.clear();
    this.#groups.clear();
    this.list.replaceChildren();
    for (const group of new Set(sliders.map((one) => one.group))) this.#addGroup(group, open);
    this.#update();
  }

  setText(text) {
    this.#text = text;
    const changes = parse(text);
    this.#readable = changes !== null;
    this.#changes = changes ?? [];
    this.#update();
  }

  /** A picture and the place of its code: {image, small, shown, batch}. Resolved when it is seen. */
  async show({ image, small, shown, batch }) {
    this.batch.hidden = batch < 2;
    const step = (by, sign, label) => {
      const button = make("button", { type: "button", textContent: sign, title: label });
      button.onclick = () => this.#actions.choose((shown + by + batch) % batch);
      return button;
    };
    this.batch.replaceChildren(
      step(-1, "\u2039", t("The one before")),
      `${shown + 1} / ${batch}`,
      step(1, "\u203a", t("The next one"))
    );
    this.#update();
    await this.#draw(image, small).catch(() => this.say(t("The picture that came cannot be shown.")));
  }

  /** Whether the picture is of something older than what is set. */
  setOld(old) {
    this.image.classList.toggle("old", old);
  }

  say(sentence) {
    this.says.textContent = sentence;
    this.says.hidden = !sentence;
  }

  /** Where the text comes from another node, nothing can be set here. */
  setLinked(linked) {
    this.controls.disabled = linked;
    this.controls.title = linked ? t("The edits come from the node that is connected.") : "";
  }

  /** What is only seen, to be put back into another panel: open groups, place, focus. */
  get view() {
    const open = [...this.#groups].filter(([, one]) => one.open).map(([name]) => name);
    return { open, top: this.#top, focus: this.#focus };
  }

  set view({ open, top, focus }) {
    for (const [name, group] of this.#groups) group.open = open.includes(name);
    const place = (tries) => {
      if (!this.element.isConnected && tries) return requestAnimationFrame(() => place(tries - 1));
      this.list.scrollTop = top;
      this.#rows.get(focus)?.slider.focus({ preventScroll: true });
    };
    place(60);
  }

  /** image: {width, height} and, in base64, its pixels ("rgb") or a file ("jpeg"). Pixels are seen at
   * once: to open a file takes a browser longer than drawing a small face takes us. */
  async #draw(image, small) {
    this.#latest = image;
    const { width, height, rgb, jpeg } = image;
    const source = rgb ? pixels(rgb, width, height) : await opened(jpeg);
    if (this.#latest !== image) return; // another came while this one was opened
    Object.assign(this.image, { width, height });
    const context = this.image.getContext("2d");
    if (rgb) context.putImageData(source, 0, 0);
    else context.drawImage(source, 0, 0);
    this.image.classList.toggle("small", Boolean(small)); // soon followed by a larger one
    this.image.hidden = false;
    this.hint.hidden = true;
  }

  #addGroup(name, open) {
    const summary = make("summary", {}, [t(name), make("span", { className: "count" })]);
    const group = make("details", {}, [summary]);
    group.ontoggle = () => this.#fill(name);
    group.open = open.includes(name);
    this.#groups.set(name, group);
    this.list.append(group);
    if (group.open) this.#fill(name);
  }

  /** The rows of a group are made when it is opened: there may be hundreds. */
  #fill(name) {
    const group = this.#groups.get(name);
    if (!group?.open || group.childElementCount > 1) return;
    for (const slider of this.#sliders.filter((one) => one.group === name)) {
      group.append(this.#makeRow(slider));
    }
    this.#update();
  }

  #makeRow({ name, label: english, meaning: what, most }) {
    const label = t(english);
    const meaning = t(what);
    const range = { min: -most, max: most, step: STEP };
    const slider = make("input", { type: "range", ...range });
    const number = make("input", { type: "number", step: STEP });
    const reset = make("button", { type: "button", textContent: "\u21ba", title: t("{} to 0", label) });
    slider.setAttribute("aria-label", meaning ? `${label}: ${meaning}` : label);
    number.setAttribute("aria-label", t("{}, as a number", label));
    slider.oninput = () => this.#set(withAmount(this.#changes, name, slider.valueAsNumber), false);
    slider.onchange = () => this.#actions.change(this.#text, true);
    number.onchange = () => {
      const amount = number.valueAsNumber;
      this.#set(withAmount(this.#changes, name, Number.isFinite(amount) ? amount : 0), true);
    };
    reset.onclick = slider.ondblclick = () => this.#set(without(this.#changes, name), true);
    slider.onkeydown = (event) => {
      if (event.key === "Delete" || event.key === "Backspace") reset.click();
    };
    const title = make("span", { className: "label", textContent: label });
    const row = make("div", { className: "row", title: meaning }, [title, slider, number, reset]);
    row.dataset.name = name;
    this.#rows.set(name, { row, slider, number, reset });
    return row;
  }

  #set(changes, finished) {
    this.#actions.change(format(changes), finished);
  }

  /** Everything as the text has it. */
  #update() {
    const amounts = new Map(this.#changes.map((one) => [one.name, one]));
    this.#showUnknown();
    for (const [name, { row, slider, number, reset }] of this.#rows) {
      const change = amounts.get(name);
      const amount = change?.amount ?? 0;
      const driven = typeof amount === "string"; // by another node
      slider.disabled = number.disabled = driven;
      slider.value = driven ? 0 : amount;
      number.value = driven ? "" : amount;
      number.placeholder = driven ? amount : "";
      number.title = driven ? t("The number of the input {}", amount) : "";
      reset.disabled = !change;
      row.classList.toggle("set", Boolean(change));
    }
    for (const [name, group] of this.#groups) {
      const inside = this.#sliders.filter((one) => one.group === name && amounts.has(one.name));
      group.querySelector(".count").textContent = inside.length || "";
    }
    const total = this.#changes.length;
    const counts = { 0: "No changes", 1: "1 change" };
    this.count.textContent = t(counts[total] ?? "{} changes", total);
    this.reset.disabled = !this.#text.trim();
    if (document.activeElement !== this.text) this.text.value = this.#text;
    this.text.classList.toggle("wrong", !this.#readable);
    this.hint.textContent = this.#sliders.length ? t("Move a slider to see the picture.") : "";
  }

  /** Changes that have no slider here, such as those of another generator, can be taken back. */
  #showUnknown() {
    const known = new Set(this.#sliders.map((one) => one.name));
    const names = this.#changes.map((one) => one.name).filter((name) => !known.has(name));
    const old = this.#groups.get(UNKNOWN);
    if (old?.dataset.names === names.join() || (!old && !names.length)) return;
    for (const row of old?.querySelectorAll(".row") ?? []) this.#rows.delete(row.dataset.name);
    old?.remove();
    this.#groups.delete(UNKNOWN);
    if (!names.length) return;
    const rows = names.map((name) => this.#makeRow({ name, label: name, meaning: "", most: 10 }));
    const summary = make("summary", {}, [t(UNKNOWN), make("span", { className: "count" })]);
    const group = make("details", { open: true }, [summary, ...rows]);
    group.dataset.names = names.join();
    this.#groups.set(UNKNOWN, group);
    this.list.append(group);
  }

  /** Keep events that mean something here from the host, which drags nodes and has keys of its own;
   * undoing is the host's. */
  #keep(event) {
    event.stopPropagation();
    if (event.target.type !== "range" || !(event.ctrlKey || event.metaKey)) return;
    const key = event.key?.toLowerCase();
    if (key === "y" || (key === "z" && event.shiftKey)) this.#actions.redo();
    else if (key === "z") this.#actions.undo();
  }
}

function make(kind, properties, children = []) {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...children);
  return element;
}

function pixels(base64, width, height) {
  const rgb = atob(base64);
  const data = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; to += 4) {
    for (let channel = 0; channel < 3; channel++) {
      data.data[to + channel] = rgb.charCodeAt(from++);
    }
    data.data[to + 3] = 255;
  }
  return data;
}

async function opened(base64) {
  const file = make("img", { src: `data:image/jpeg;base64,${base64}` });
  await file.decode();
  return file;
}

function addStyle() {
  const address = new URL("./panel.css", import.meta.url).href;
  if (document.querySelector(`link[href="${address}"]`)) return;
  document.head.append(make("link", { rel: "stylesheet", href: address }));
}
