// The Latent Editor's sliders and picture. Its value is the node's text `edits`, which works without
// any of this.

import { app } from "../../scripts/app.js";
import { Live } from "./live.js";
import { Panel } from "./panel.js";
import { t } from "./texts.js";

const NODE = "CycleLatentEditor";
const KNOWN = "cycle_sliders"; // property: those of the generator, where it is not the embedded one
const SIZE = [640, 440];
const REST = 250; // milliseconds after which a slider that is still held rests
let embedded = [];
const shown = new Map(); // what was seen in each node: undoing makes nodes anew
const STORE = "cycle-latent-editor "; // and what a reload of the page is to keep, by the node

app.registerExtension({
  name: "cycle-encoding.latent-editor",

  beforeRegisterNodeDef(_type, definition) {
    if (definition.name !== NODE) return;
    embedded = definition.input?.required?.generator?.[1]?.sliders ?? [];
  },

  nodeCreated(node) {
    if (node.comfyClass === NODE) addEditor(node);
  },
});

function addEditor(node) {
  const [edits, index] = ["edits", "shown"].map((name) =>
    node.widgets.find((one) => one.name === name)
  );
  const panel = new Panel({ change, choose, undo: () => host("Undo"), redo: () => host("Redo") });
  const live = new Live(node, (sentence) => {
    panel.say(sentence || t(state?.says ?? ""));
    drawn.then(() => panel.setOld(state?.edits !== edits.value));
  });
  let drawn = Promise.resolve(); // the picture of `state`
  let resting;
  let state; // what the last run gave
  let removed = false; // as the nodes of a workflow that is left are, while they run

  function change(text, finished) {
    const changed = edits.value !== text;
    if (changed) {
      edits.value = text;
      panel.setText(text);
      panel.setOld(true);
    }
    // small pictures while a slider moves, and one of full size where it rests
    if (changed || (finished && live.moving)) {
      clearTimeout(resting);
      if (!finished) resting = setTimeout(() => live.ask(), REST);
      live.ask(!finished);
    }
    if (finished) remember();
  }

  function choose(number) {
    index.value = number;
    live.ask();
    remember();
  }

  /** What a run gave. */
  function take(output) {
    if (output?.latent_editor && !removed) show(output.latent_editor[0]);
  }

  function keep() {
    if (!state) return;
    shown.set(key(node), { state, view: panel.view, element: panel.element });
    try {
      const view = { ...panel.view, focus: undefined };
      sessionStorage.setItem(STORE + key(node), JSON.stringify({ state, view }));
    } catch {} // no room: then a reload shows no picture
  }

  function show(given) {
    state = given;
    keep();
    if (given.sliders) node.properties[KNOWN] = given.sliders;
    else delete node.properties[KNOWN]; // the embedded ones
    panel.setSliders(given.sliders ?? embedded);
    drawn = panel.show(given).then(() => panel.setOld(state.edits !== edits.value));
    panel.say(t(given.says));
  }

  /** The text was set by somebody else: a file, the clipboard, undo. */
  function read() {
    panel.setSliders(node.properties[KNOWN] ?? embedded);
    panel.setText(edits.value);
    panel.setLinked(node.inputs.some((one) => one.widget?.name === "edits" && one.link != null));
    if (state) return panel.setOld(state.edits !== edits.value);
    const before = shown.get(key(node)) ?? stored(node);
    if (!before) return;
    show(before.state);
    panel.view = before.view;
    if (!before.element) return;
    setTimeout(() => {
      // where nodes are Vue components, the host goes on showing the old node's element
      const { element } = panel;
      if (!element.isConnected && before.element.isConnected) before.element.replaceWith(element);
    }, 100);
    const undone = workflow()?.changeTracker?._restoringState;
    // not at once: the rest of the graph is still to come
    if (undone && before.state.edits !== edits.value) setTimeout(() => live.ask());
  }

  for (const widget of [edits, index]) {
    widget.hidden = true;
    widget.options.hidden = true;
    widget.computeSize = () => [0, -4]; // older hosts leave room for what is hidden
  }
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => 320 };
  const widget = node.addDOMWidget("editor", "cycle_editor", panel.element, options);
  widget.serialize = false;
  after(node, "onConfigure", read);
  after(node, "onConnectionsChange", () => node.inputs && read());
  after(node, "onExecuted", take);
  after(node, "onAdded", () => (removed = false));
  after(node, "onRemoved", () => {
    keep();
    removed = true;
  });
  after(edits, "callback", read);
  node.setSize([Math.max(node.size[0], SIZE[0]), Math.max(node.size[1], SIZE[1])]);
  read();
}

/** Do something after what an object's method does. */
function after(object, name, act) {
  const method = object[name];
  object[name] = function (...given) {
    const result = method?.apply(this, given);
    act(...given);
    return result;
  };
}

/** What was seen in a node before the page was loaded anew. */
function stored(node) {
  try {
    return JSON.parse(sessionStorage.getItem(STORE + key(node)));
  } catch {
    return null;
  }
}

function workflow() {
  return app.extensionManager?.workflow?.activeWorkflow;
}

/** One step for the host's undo. */
function remember() {
  const tracker = workflow()?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.();
}

function host(command) {
  app.extensionManager?.command?.execute?.(`Comfy.${command}`);
}

function key(node) {
  const root = app.rootGraph ?? app.graph;
  return `${root?.id} ${node.graph?.id} ${node.id}`;
}
