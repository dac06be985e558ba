// Expression and age of aligned faces, by face-api: node photographs.js FOLDER < paths as JSON.
// FOLDER is where npm installed @vladmandic/face-api; prints one object for each picture.
const path = require("path");
const fs = require("fs");
const folder = path.join(process.argv[2], "node_modules");
const tf = require(path.join(folder, "@tensorflow/tfjs"));
const { PNG } = require(path.join(folder, "pngjs"));
const faceapi = require(path.join(folder, "@vladmandic/face-api/dist/face-api.node-wasm.js"));

async function main() {
  const wasm = path.join(folder, "@tensorflow/tfjs-backend-wasm/dist/");
  require(path.join(folder, "@tensorflow/tfjs-backend-wasm")).setWasmPaths(wasm);
  await tf.setBackend("wasm");
  await tf.ready();
  const models = path.join(folder, "@vladmandic/face-api/model");
  await faceapi.nets.faceExpressionNet.loadFromDisk(models);
  await faceapi.nets.ageGenderNet.loadFromDisk(models);
  const found = [];
  for (const file of JSON.parse(fs.readFileSync(0, "utf8"))) {
    // the face of FFHQ's crop, as face-api cuts it: brow to chin, ear to ear
    const image = PNG.sync.read(fs.readFileSync(file));
    const pixels = tf.tensor3d(image.data, [image.height, image.width, 4], "int32");
    const size = image.width;
    const at = [Math.round(0.22 * size), Math.round(0.26 * size)];
    const side = Math.round(0.56 * size);
    const face = pixels.slice([at[1], at[0], 0], [side, side, 3]);
    const expressions = await faceapi.nets.faceExpressionNet.predictExpressions(face);
    const { age } = await faceapi.nets.ageGenderNet.predictAgeAndGender(face);
    found.push({ age, happy: expressions.happy, neutral: expressions.neutral });
    tf.dispose([pixels, face]);
  }
  console.log(JSON.stringify(found));
}
main();
