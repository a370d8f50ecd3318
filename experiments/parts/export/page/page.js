// Reads the face in a square of a picture or of the camera with model.onnx, in this browser; see index.html.
import * as ort from "./ort/ort.wasm.min.mjs";

const LONGEST = 960; // pixels of the longest side of what is shown
const LARGEST = 512; // pixels of a square that go into the network as they are; a larger square is reduced to so many
const PAUSE = 200; // milliseconds between two looks at the camera
const at = (id) => document.getElementById(id);
const view = at("view");
const drawn = view.getContext("2d");
const cut = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

let session, about;
let source = null; // an ImageBitmap, or the <video> of the camera
let square = { x: 0, y: 0, side: 0 }; // in pixels of the source, as it is shown
let scale = 1; // pixels of the view for one of the source
let stream = null;
let asked = 0; // answers that were asked for: only the last one is shown

const wide = () => source.videoWidth || source.width;
const high = () => source.videoHeight || source.height;
const say = (words) => { at("status").textContent = words; };

async function load() {
  say("Loading the network …");
  ort.env.wasm.numThreads = 1; // more would need headers that plain servers do not send
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  about = await (await fetch("model.onnx.json")).json();
  const bytes = new Uint8Array(await (await fetch(about.file)).arrayBuffer());
  session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  at("about").textContent = `Network: ${about.model}, ${about.classes.length} answers. The percentages are how it divides ` +
    "its confidence among them, whatever the picture shows: a cup gets an expression, too.";
  say("");
  document.body.dataset.ready = "yes";
}

function paint(on, width, height) { // the source as it is shown: the camera like a mirror
  on.save();
  if (source === video) { on.translate(width, 0); on.scale(-1, 1); }
  on.drawImage(source, 0, 0, width, height);
  on.restore();
}

function show() {
  if (!source) return;
  paint(drawn, view.width, view.height);
  const [x, y, side] = [square.x * scale, square.y * scale, square.side * scale];
  drawn.fillStyle = "#0007";
  drawn.beginPath();
  drawn.rect(0, 0, view.width, view.height);
  drawn.rect(x, y, side, side);
  drawn.fill("evenodd");
  drawn.lineWidth = 2;
  drawn.strokeStyle = "#fff";
  drawn.strokeRect(x, y, side, side);
  if (!about) return;
  const [height, width] = about.template.size;
  drawn.strokeStyle = "#3f9";
  drawn.lineWidth = Math.max(2, side / 60);
  for (const [px, py] of about.template.points) {
    drawn.beginPath();
    drawn.arc(x + (px + 0.5) / width * side, y + (py + 0.5) / height * side, Math.max(3, side / 40), 0, 2 * Math.PI);
    drawn.stroke();
  }
}

function place(x, y, side) { // within the source
  side = Math.max(8, Math.min(Math.round(side), wide(), high()));
  const inside = (value, size) => Math.max(0, Math.min(Math.round(value), size - side));
  square = { x: inside(x, wide()), y: inside(y, high()), side };
  at("side").value = 100 * side / Math.min(wide(), high());
  show();
}

function resize(side) { // about its middle
  const middle = [square.x + square.side / 2, square.y + square.side / 2];
  side = Math.max(8, Math.min(side, wide(), high()));
  place(middle[0] - side / 2, middle[1] - side / 2, side);
}

function open(what) {
  source = what;
  scale = LONGEST / Math.max(wide(), high());
  view.width = Math.max(1, Math.round(wide() * scale));
  view.height = Math.max(1, Math.round(high() * scale));
  at("hint").hidden = true;
  const side = 0.6 * Math.min(wide(), high());
  place((wide() - side) / 2, (high() - side) / 2, side);
}

function pixels() { // of the square, RGB
  const { x, y, side } = square;
  const size = Math.min(side, LARGEST), ratio = size / side;
  cut.canvas.width = cut.canvas.height = size;
  cut.imageSmoothingQuality = "high";
  cut.fillStyle = "#fff"; // what is transparent is on white, as in Python
  cut.fillRect(0, 0, size, size);
  cut.translate(-x * ratio, -y * ratio);
  paint(cut, wide() * ratio, high() * ratio);
  const rgba = cut.getImageData(0, 0, size, size).data;
  const rgb = new Uint8Array(size * size * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    rgb[j++] = rgba[i];
    rgb[j++] = rgba[i + 1];
    rgb[j++] = rgba[i + 2];
  }
  return new ort.Tensor("uint8", rgb, [1, size, size, 3]);
}

let running = Promise.resolve(); // a session answers one question at a time

function read() {
  const mine = ++asked;
  running = running.then(async () => {
    if (!session || !source || mine !== asked) return;
    const answer = await session.run({ faces: pixels() });
    if (mine === asked) tell(Array.from(answer.probabilities.data));
  }).catch((error) => say(`This could not be read: ${error.message}`));
  return running;
}

function tell(probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const percent = (value) => `${Math.round(100 * value)} %`;
  at("answer").textContent = `Looks like ${about.classes[best]}: ${percent(probabilities[best])} of its confidence`;
  at("answer").dataset.label = about.classes[best];
  at("answer").dataset.probabilities = JSON.stringify(probabilities);
  const rows = probabilities.map((value, i) => {
    const row = document.createElement("tr"), head = document.createElement("th"), bar = document.createElement("meter");
    head.textContent = about.classes[i];
    bar.value = value;
    const number = document.createElement("td"), middle = document.createElement("td");
    number.className = "number";
    number.textContent = percent(value);
    middle.append(bar);
    row.append(head, middle, number);
    return row;
  });
  at("table").tBodies[0].replaceChildren(...rows);
}

async function picture(file) {
  stop();
  try {
    open(await createImageBitmap(file));
    say("");
  } catch {
    say(`${file.name || "This"} is no picture that this browser reads.`);
    return;
  }
  await read();
}

const video = document.createElement("video");
video.muted = video.playsInline = true;

async function start() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
  } catch (error) {
    say(navigator.mediaDevices ? `No camera: ${error.message}` : "A camera needs https, or localhost.");
    return;
  }
  const mine = stream;
  video.srcObject = stream;
  await video.play();
  at("camera").textContent = "Stop the camera";
  open(video);
  say("");
  const frame = () => { if (stream === mine) { show(); requestAnimationFrame(frame); } };
  frame();
  while (stream === mine) {
    await read();
    await new Promise((done) => setTimeout(done, PAUSE));
  }
}

function stop() { // the last picture stays, and nothing of the camera goes on
  for (const track of stream ? stream.getTracks() : []) track.stop();
  stream = null;
  at("camera").textContent = "Start the camera";
}

at("camera").addEventListener("click", () => (stream ? stop() : start()));
at("file").addEventListener("change", (event) => { if (event.target.files[0]) picture(event.target.files[0]); });
at("whole").addEventListener("click", () => { if (source) { resize(Infinity); read(); } });
at("side").addEventListener("input", (event) => {
  if (source) { resize(event.target.value / 100 * Math.min(wide(), high())); read(); }
});

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
}
document.addEventListener("drop", (event) => {
  const file = event.dataTransfer && event.dataTransfer.files[0];
  if (file) picture(file);
});

let drag = null; // where a drag began, and what it does

const place_of = (event) => {
  const box = view.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * wide(), (event.clientY - box.top) / box.height * high()];
};

view.addEventListener("pointerdown", (event) => {
  if (!source) return;
  view.setPointerCapture(event.pointerId);
  const [x, y] = place_of(event), inside = x >= square.x && y >= square.y && x < square.x + square.side && y < square.y + square.side;
  drag = inside ? { move: [x - square.x, y - square.y] } : { corner: [x, y] };
});
view.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = place_of(event);
  if (drag.move) { place(x - drag.move[0], y - drag.move[1], square.side); return; }
  const [cx, cy] = drag.corner, side = Math.max(Math.abs(x - cx), Math.abs(y - cy));
  place(x < cx ? cx - side : cx, y < cy ? cy - side : cy, side);
});
for (const kind of ["pointerup", "pointercancel"]) {
  view.addEventListener(kind, () => { if (drag) { drag = null; read(); } });
}
view.addEventListener("keydown", (event) => {
  if (!source) return;
  const step = Math.max(1, square.side / 40);
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (moves[event.key]) place(square.x + moves[event.key][0], square.y + moves[event.key][1], square.side);
  else if (event.key === "+" || event.key === "-") resize(square.side * (event.key === "+" ? 1.05 : 1 / 1.05));
  else return;
  event.preventDefault();
  read();
});

load().catch((error) => say(`The network could not be loaded: ${error.message}`));
