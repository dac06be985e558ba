// The notes of our templates in larger letters: templates open at two thirds of their size or less,
// where the host's letters of 10 pixels are 6 on the screen.

import { app } from "../../scripts/app.js";

const OURS = "cycle_note"; // property of these notes
const LARGER = 1.5; // than notes of others, whose size people set
const style = document.createElement("style");
let ids = [];

app.registerExtension({
  name: "cycle-encoding.notes",

  setup() {
    document.head.append(style);
  },

  beforeConfigureGraph() {
    ids = [];
    write();
  },

  loadedGraphNode(node) {
    if (!node.properties?.[OURS]) return;
    node.widgets?.[0]?.element?.classList.add("cycle-note"); // where the host draws nodes
    ids.push(node.id); // where nodes are Vue components
    write();
  },
});

function write() {
  const notes = [".cycle-note", ...ids.map((id) => `[data-node-id="${CSS.escape(id)}"]`)].join(", ");
  style.textContent = `
    :is(${notes}) :is(.tiptap, .comfy-markdown-content) {
      font-size: calc(${LARGER} * var(--comfy-textarea-font-size, 10px));
      line-height: 1.3;
    }
    :is(${notes}) :is(.tiptap, .comfy-markdown-content) h2 {
      margin: 0 0 0.4em;
      font-size: 1.2em;
    }
    :is(${notes}) :is(.tiptap, .comfy-markdown-content) :is(th, td) {
      padding: 0.2em 0.4em;
    }`;
}
