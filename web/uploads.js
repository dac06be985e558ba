// An upload button for a file that may stay empty: the host adds one only where a file is required.

import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "cycle-encoding.uploads",

  beforeRegisterNodeDef(_type, definition) {
    if (!definition.name.startsWith("Cycle")) return;
    const optional = definition.input?.optional ?? {};
    for (const [name, [, options]] of Object.entries(optional)) {
      if (!options?.image_upload && !options?.video_upload) continue;
      optional.upload = ["IMAGEUPLOAD", { ...options, imageInputName: name }];
    }
  },
});
