// Before and After: the host's slider where nodes are Vue components, the same on its canvas, which
// has none. An older host shows both pictures by itself.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const TOP = 60; // of the pictures, below the sockets
const EDGE = 10;

app.registerExtension({
  name: "cycle-encoding.before-after",

  nodeCreated(node) {
    const view = node.widgets?.find((one) => one.name === "compare_view");
    if (node.comfyClass === "CycleBeforeAfter" && view) addSlider(node, view);
  },
});

function addSlider(node, view) {
  let pictures = []; // before, after
  let place = 0.5; // of the line between them
  // the canvas would say that the widget is not for it
  view.draw = view.drawWidget = () => {};
  view.computeSize = () => [0, -4];

  const executed = node.onExecuted;
  node.onExecuted = function (output) {
    executed?.call(this, output);
    const urls = ["a_images", "b_images"].map((name) => (output[name] ?? []).map(address));
    view.value = { beforeImages: urls[0], afterImages: urls[1] };
    view.callback?.(view.value);
    pictures = urls.map(([first]) => Object.assign(new Image(), { src: first ?? "" }));
    for (const one of pictures) one.onload = () => node.setDirtyCanvas(true);
  };

  const moved = node.onMouseMove;
  node.onMouseMove = function (event, [x], ...more) {
    place = Math.min(Math.max((x - EDGE) / (node.size[0] - 2 * EDGE), 0), 1);
    node.setDirtyCanvas(true);
    return moved?.call(this, event, [x], ...more);
  };

  const drawn = node.onDrawBackground;
  node.onDrawBackground = function (context, ...more) {
    drawn?.call(this, context, ...more);
    if (LiteGraph.vueNodesMode || node.flags.collapsed) return;
    const [before, after] = pictures;
    if (!before?.naturalWidth || !after?.naturalWidth) return;
    const [width, height] = [node.size[0] - 2 * EDGE, node.size[1] - TOP - EDGE];
    const scale = Math.min(width / after.naturalWidth, height / after.naturalHeight);
    const [w, h] = [after.naturalWidth * scale, after.naturalHeight * scale];
    const [x, y] = [EDGE + (width - w) / 2, TOP + (height - h) / 2];
    const line = Math.min(Math.max(EDGE + place * width, x), x + w);
    context.save();
    context.drawImage(after, x, y, w, h);
    context.beginPath();
    context.rect(x, y, line - x, h);
    context.clip();
    context.drawImage(before, x, y, w, h);
    context.restore();
    context.fillStyle = "#fff";
    context.fillRect(line - 1, y, 2, h);
  };
}

function address(file) {
  return api.apiURL(`/view?${new URLSearchParams(file)}${app.getRandParam?.() ?? ""}`);
}
