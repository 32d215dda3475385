// The slice in the browser: clicks, boxes, wheel and keys become events; the server sends pictures back.
// Gradio gives: element, trigger(event, data), watch(prop, callback), props.
const find = (selector) => element.querySelector(selector);
let tool = "inside";
let corner = null; // where a box begins, [x, y] as shares of the picture
let press = null; // where the left button went down, and whether a click there is inside
let index = 0; // of the slice that is wanted; all that is asked is about it
let scrolling = -Infinity; // when it was asked for, ms, until it is there
let waiting = 0;
let resting = null; // what happens when the mouse stays where it is
let asked = null; // the place of a click whose answer is not there yet
let coarse = null; // a picture with a first mask for such a click, and its place; it may come while the button is held

const ask = (what) => {
  waiting += 1;
  find(".frame").classList.add("waiting");
  trigger("select", { ...what, index });
  asked = what.do === "point" ? what.at : null;
  showCoarse();
};
const showCoarse = () => {
  if (coarse === null || asked === null || String(coarse.at) !== String(asked)) return;
  find(".picture").src = coarse.coarse;
  find(".message").textContent = "A first look: the outline follows.";
};
const choose = (name) => {
  tool = name;
  corner = null;
  band(null);
  for (const button of element.querySelectorAll("[data-tool]")) {
    button.classList.toggle("chosen", button.dataset.tool === tool);
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
};
const go = (to) => {
  const slider = find(".slice");
  const next = Math.max(0, Math.min(Number(slider.max), to));
  if (next === index) return;
  index = next;
  asked = null;
  slider.value = String(index);
  if (performance.now() - scrolling > 5000) scroll(); // else once the one that was asked for before is there
};
const scroll = () => {
  scrolling = performance.now();
  trigger("input", { index });
};
const placeOf = (event) => {
  const area = find(".picture").getBoundingClientRect();
  // Whole px, so that a click is where the mouse rested before.
  return [(Math.round(event.clientX) - area.left) / area.width, (Math.round(event.clientY) - area.top) / area.height];
};
const isInside = ([x, y]) => x >= 0 && x < 1 && y >= 0 && y < 1;
const band = (end) => {
  const shown = find(".band");
  shown.style.display = end === null ? "none" : "block";
  if (end === null) return;
  const area = find(".picture").getBoundingClientRect();
  const frame = find(".frame").getBoundingClientRect();
  const [low, high] = [Math.min, Math.max].map((of) => [of(corner[0], end[0]), of(corner[1], end[1])]);
  shown.style.left = `${area.left - frame.left + low[0] * area.width}px`;
  shown.style.top = `${area.top - frame.top + low[1] * area.height}px`;
  shown.style.width = `${(high[0] - low[0]) * area.width}px`;
  shown.style.height = `${(high[1] - low[1]) * area.height}px`;
};

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.tool) choose(button.dataset.tool);
  if (button?.dataset.do) ask({ do: button.dataset.do });
});
element.addEventListener("contextmenu", (event) => {
  if (event.target.closest(".frame")) event.preventDefault();
});
element.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".frame") || !find(".picture").src) return;
  event.preventDefault();
  clearTimeout(resting);
  find(".frame").focus({ preventScroll: true });
  const place = placeOf(event);
  if (!isInside(place)) return;
  if (event.button === 2 || (event.button === 0 && event.ctrlKey)) {
    ask({ do: "point", at: place, inside: false });
  } else if (event.button === 0 && tool === "box" && corner !== null) {
    finish(place);
  } else if (event.button === 0) {
    press = { place, inside: tool !== "outside" };
    if (tool === "inside") trigger("focus", { at: place, index, pressed: true }); // prepared while the button is held
    find(".frame").setPointerCapture(event.pointerId);
  }
});
element.addEventListener("pointermove", (event) => {
  clearTimeout(resting);
  const place = find(".picture").src && event.target.closest(".frame") && tool === "inside" ? placeOf(event) : null;
  if (place !== null && !event.buttons && isInside(place)) {
    resting = setTimeout(() => trigger("focus", { at: place, index }), 60);
  }
  if (press !== null && isDrag(placeOf(event))) corner = press.place;
  if (corner === null) return;
  const at = [corner, within(placeOf(event))];
  band(at[1]);
  resting = setTimeout(() => trigger("focus", { at, index }), 60); // the box is probably done
});
element.addEventListener("pointerup", (event) => {
  if (press === null) return;
  const [{ place, inside }, end] = [press, placeOf(event)];
  const isBox = isDrag(end);
  press = null;
  if (isBox || tool === "box") corner = place; // a click is the first of two corners
  if (isBox) finish(end); // a drag is a box, whatever the tool, as in 3D Slicer
  else if (tool !== "box") ask({ do: "point", at: place, inside });
});
element.addEventListener("pointercancel", () => {
  press = null;
  choose(tool);
});
const isDrag = (end) => {
  const area = find(".picture").getBoundingClientRect();
  return Math.hypot((end[0] - press.place[0]) * area.width, (end[1] - press.place[1]) * area.height) > 5;
};
const within = (place) => place.map((share) => Math.max(0, Math.min(0.9999, share)));
const finish = (place) => {
  clearTimeout(resting);
  ask({ do: "box", at: [corner, within(place)] });
  choose("inside"); // what follows a box is a correction
};
element.addEventListener("wheel", (event) => {
  if (!event.target.closest(".frame") || Number(find(".slice").max) === 0) return;
  event.preventDefault();
  go(index + (event.deltaY < 0 ? 1 : -1));
}, { passive: false });
element.addEventListener("input", (event) => {
  if (event.target.matches(".slice")) {
    event.stopPropagation();
    go(Number(event.target.value));
  }
});
element.addEventListener("keydown", (event) => {
  if (!event.target.closest(".frame") || event.ctrlKey || event.metaKey || event.altKey) return;
  const tools = { i: "inside", o: "outside", b: "box" };
  const steps = { z: "undo", x: "clear", k: "smaller", l: "larger", enter: "accept" };
  const slices = { arrowup: 1, arrowdown: -1, pageup: 5, pagedown: -5 };
  const key = event.key.toLowerCase();
  if (key === "escape") {
    press = null;
    choose(tool);
  } else if (key in tools) choose(tools[key]);
  else if (key in steps) ask({ do: steps[key] });
  else if (key in slices) go(index + slices[key]);
  else return;
  event.preventDefault();
});

const show = () => {
  const value = props.value;
  if (!value) return;
  if (value.only) {
    find(`.${value.only}`).textContent = value[value.only];
    return;
  }
  if (value.coarse) {
    coarse = value;
    showCoarse();
    return;
  }
  if (String(value.answers) === String(asked)) asked = coarse = null;
  waiting = Math.max(0, waiting - 1);
  find(".frame").classList.toggle("waiting", waiting > 0 && !value.is_last);
  if (value.is_last) waiting = 0;
  const picture = find(".picture");
  if (value.picture && picture.getAttribute("src") !== value.picture) picture.src = value.picture;
  if (!value.picture) picture.removeAttribute("src");
  for (const name of ["left", "top", "legend", "candidate", "message"]) find(`.${name}`).textContent = value[name] ?? "";
  find(".message").classList.toggle("trouble", Boolean(value.trouble));
  const slider = find(".slice");
  slider.max = String(value.slices - 1);
  slider.disabled = value.slices < 2;
  if (value.scrolled !== undefined) scrolling = -Infinity;
  if (value.scrolled !== undefined && value.scrolled !== index) scroll(); // the wheel was turned further meanwhile
  else if (scrolling === -Infinity) {
    index = value.index;
    slider.value = String(index);
  }
  element.dataset.serial = String(value.serial);
  choose(tool);
};
watch("value", show);
show();
