// The large view: frames, waveform and spectrogram on one time axis, and the sound that plays.

const SEEK_S = 0.25;
const dialog = byId("detail");
const audio = new Audio();
let open = null;  // what is in the large view: {index, media, sheet}
let address = null;
let silent = { playing: false, at: 0, since: 0 };  // the clock of clips without sound

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function playing() {
  return open.media.sound ? !audio.paused : silent.playing;
}

function now() {
  if (open.media.sound) return Math.min(audio.currentTime, open.media.shown_s);
  const passed = silent.playing ? (performance.now() - silent.since) / 1000 : 0;
  return Math.min(silent.at + passed, open.media.shown_s);
}

function seek(time) {
  const to = Math.min(Math.max(time, 0), open.media.shown_s);
  if (open.media.sound) audio.currentTime = to;
  silent = { playing: silent.playing, at: to, since: performance.now() };
  draw();
}

function play() {
  if (!open.media.sound) {
    const at = now() >= open.media.shown_s ? 0 : now();
    silent = { playing: true, at, since: performance.now() };
    follow();
    return;
  }
  audio.play().then(follow, (error) => {
    // a browser may want a click first, and closing the view interrupts: neither is a fault
    if (error.name === "NotSupportedError") byId("note").textContent = "this browser cannot play the sound";
  });
}

function pause() {
  silent = { playing: false, at: open ? now() : 0, since: 0 };
  audio.pause();
}

function toggle() {
  if (playing()) pause();
  else play();
  draw();
}

function follow() {
  if (!open) return;
  if (!open.media.sound && silent.playing && now() >= open.media.shown_s) {
    silent = { playing: byId("loop").checked, at: byId("loop").checked ? 0 : open.media.shown_s, since: performance.now() };
  }
  draw();
  if (playing()) requestAnimationFrame(follow);
}

function nearest(times, time) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] + times[middle + 1] < 2 * time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function draw() {
  if (!open) return;
  const { media, sheet } = open;
  const time = now();
  byId("cursor").style.left = `${(100 * time) / media.shown_s}%`;
  byId("clock").textContent = `${time.toFixed(2)} / ${media.shown_s.toFixed(2)} s`;
  byId("play").textContent = playing() ? "Pause" : "Play";
  const timeline = byId("timeline");
  timeline.setAttribute("aria-valuenow", time.toFixed(2));
  timeline.setAttribute("aria-valuetext", `${time.toFixed(2)} seconds`);
  if (!sheet || !sheet.complete || !sheet.naturalWidth) return;
  const { width, height, across, times_s: times } = media.sheet;
  const k = nearest(times, time);
  const canvas = byId("frame");
  canvas.getContext("2d").drawImage(
    sheet, (k % across) * width, Math.floor(k / across) * height, width, height, 0, 0, width, height);
}

function drawStrip() {
  if (!open || !open.sheet || !open.sheet.complete || !open.sheet.naturalWidth) return;
  const { media, sheet } = open;
  const { width, height, across, times_s: times } = media.sheet;
  const canvas = byId("strip");
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  const context = canvas.getContext("2d");
  const slots = Math.max(1, Math.round(canvas.width / (canvas.height * (width / height))));
  for (let slot = 0; slot < slots; slot += 1) {
    // each slot shows the frame at the time of its middle, cut to fill it
    const k = nearest(times, ((slot + 0.5) / slots) * media.shown_s);
    const [left, right] = [slot, slot + 1].map((at) => Math.round((at / slots) * canvas.width));
    const fit = Math.max((right - left) / width, canvas.height / height);
    const [cutWidth, cutHeight] = [(right - left) / fit, canvas.height / fit];
    context.drawImage(
      sheet,
      (k % across) * width + (width - cutWidth) / 2,
      Math.floor(k / across) * height + (height - cutHeight) / 2,
      cutWidth, cutHeight, left, 0, right - left, canvas.height);
  }
}

function waveform(base64) {
  const pairs = new Int8Array(bytes(base64).buffer);
  const count = pairs.length / 2;
  let upper = "";
  let lower = "";
  for (let k = 0; k < count; k += 1) {
    // a part is at least a hair thick, so that silence is a line
    const [low, high] = [Math.min(pairs[2 * k], -1), Math.max(pairs[2 * k + 1], 1)];
    upper += `L${k} ${-high}L${k + 1} ${-high}`;
    lower = `L${k + 1} ${-low}L${k} ${-low}${lower}`;
  }
  const name = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(name, "svg");
  picture.setAttribute("viewBox", `0 -130 ${count} 260`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", "waveform");
  const path = document.createElementNS(name, "path");
  path.setAttribute("d", `M0 0${upper}${lower}Z`);
  path.setAttribute("fill", "currentColor");
  picture.append(path);
  return picture;
}

function spectrogram(uri, ticks, key) {
  const row = element("div");
  row.className = "spectrogram-row";
  const picture = element("img");
  picture.src = uri;
  picture.alt = `spectrogram of ${key}`;
  picture.draggable = false;
  row.append(picture);
  for (const [share, text] of ticks) {
    const mark = element("span", text);
    mark.style.top = `${100 * share}%`;
    row.append(mark);
  }
  return row;
}

function drawAxis() {
  if (!open) return;
  const axis = byId("axis");
  const length = open.media.shown_s;
  const least = (70 * length) / Math.max(axis.clientWidth, 1);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((k) => k * power).find((one) => one >= least * 0.999);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const marks = [];
  for (let k = 0; k * step <= length * 0.99; k += 1) {
    const mark = element("span", `${(k * step).toFixed(decimals)}${k ? "" : " s"}`);
    mark.className = k ? "" : "first";
    mark.style.left = `${(100 * k * step) / length}%`;
    marks.push(mark);
  }
  axis.replaceChildren(...marks);
}

function fillFacts(media) {
  const items = [];
  for (const [name, text] of media.facts) items.push(element("dt", name), element("dd", text));
  byId("facts").replaceChildren(...items);
}

function notes(media) {
  if (media.fault) return media.fault;
  const parts = [];
  if (!media.sound) parts.push("no sound stored");
  else if (media.sound.note) parts.push(`sound: ${media.sound.note}`);
  if (media.peak_dbfs !== null) parts.push(`peak ${Number(media.peak_dbfs.toFixed(1)) || 0} dB of full scale`);
  else if (media.sound) parts.push("digital silence");
  if (media.shown_s < media.duration_s - 0.05) {
    parts.push(`the first ${media.shown_s.toFixed(1)} of ${media.duration_s.toFixed(1)} s`);
  }
  return parts.join("; ");
}

function show(index) {
  pause();
  const media = JSON.parse(byId(`media-${index}`).textContent);
  open = { index, media, sheet: null };
  silent = { playing: false, at: 0, since: 0 };
  byId("detail-key").textContent = media.key;
  byId("detail-labels").textContent = media.labels.join(", ");
  fillFacts(media);
  byId("note").textContent = notes(media);
  byId("timeline").setAttribute("aria-valuemax", media.shown_s.toFixed(2));
  const canvas = byId("frame");
  canvas.hidden = byId("strip").hidden = !media.sheet;
  document.querySelector(".stage").classList.toggle("soundonly", !media.sheet);
  if (media.sheet) {
    canvas.width = media.sheet.width;
    canvas.height = media.sheet.height;
    const scale = Math.min(330 / media.sheet.height, 560 / media.sheet.width);
    canvas.style.width = `${Math.round(media.sheet.width * scale)}px`;
    canvas.setAttribute("aria-label", `frame of ${media.key} at the time of the cursor`);
    open.sheet = new Image();
    open.sheet.addEventListener("load", () => { drawStrip(); draw(); });
    open.sheet.src = media.sheet.uri;
  }
  byId("waves").replaceChildren(...media.peaks.map(waveform));
  byId("spectrograms").replaceChildren(
    ...media.spectrograms.map((uri) => spectrogram(uri, media.frequency_ticks, media.key)));
  byId("spectrograms").classList.toggle("several", media.spectrograms.length > 1);
  if (address) URL.revokeObjectURL(address);
  address = null;
  if (media.sound) {
    address = URL.createObjectURL(new Blob([bytes(media.sound.data)], { type: media.sound.mime }));
    audio.src = address;
  }
  const place = shown.findIndex((card) => card.index === index);
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place === shown.length - 1;
  if (!dialog.open) dialog.showModal();
  byId("timeline").focus({ preventScroll: true });
  drawAxis();
  draw();
  play();
}

function change(step) {
  const place = shown.findIndex((card) => card.index === open.index);
  if (place >= 0 && shown[place + step]) show(shown[place + step].index);
}

byId("grid").addEventListener("click", (event) => {
  const button = event.target.closest("button[data-sample]");
  if (button) show(Number(button.dataset.sample));
});
byId("play").addEventListener("click", toggle);
byId("loop").addEventListener("change", () => { audio.loop = byId("loop").checked; });
byId("previous").addEventListener("click", () => change(-1));
byId("next").addEventListener("click", () => change(1));
byId("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  pause();
  const card = open && grid[open.index].item;
  open = null;
  if (card && !card.hidden) card.querySelector("button").focus();
});
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    " ": toggle,
    ArrowLeft: () => seek(now() - SEEK_S),
    ArrowRight: () => seek(now() + SEEK_S),
    Home: () => seek(0),
    End: () => seek(open.media.shown_s),
    PageUp: () => change(-1),
    PageDown: () => change(1),
  }[event.key];
  // Space on a button presses that button
  if (!act || (event.key === " " && event.target.closest("button, input"))) return;
  event.preventDefault();
  act();
});
function seekTo(event) {
  const box = byId("timeline").getBoundingClientRect();
  seek(((event.clientX - box.left) / box.width) * open.media.shown_s);
}
byId("timeline").addEventListener("pointerdown", (event) => {
  byId("timeline").setPointerCapture(event.pointerId);
  seekTo(event);
});
byId("timeline").addEventListener("pointermove", (event) => { if (event.buttons & 1) seekTo(event); });
audio.addEventListener("pause", draw);
audio.addEventListener("ended", draw);
audio.addEventListener("error", () => {
  if (open && open.media.sound) byId("note").textContent = "this browser cannot play the sound";
});
new ResizeObserver(() => { drawStrip(); drawAxis(); }).observe(byId("timeline"));
