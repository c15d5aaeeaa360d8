// A button on each block of commands copies the commands alone. Without JavaScript the page has no buttons.
for (const box of document.querySelectorAll(".commands")) {
  const code = box.querySelector("code"), button = element("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(code.textContent.trim() + "\n");
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  } }, "copy");
  box.append(button);
}
// On a narrow screen the contents are a line that stays in sight, names the chapter, and opens.
const contents = document.querySelector("#contents details"), wide = matchMedia("(min-width: 70rem)");
const fitContents = () => { contents.open = wide.matches; };
wide.addEventListener("change", fitContents);
fitContents();
contents.addEventListener("click", event => { if (event.target.closest("a") && !wide.matches) contents.open = false; });
// Mark the chapter that is read: the last one whose heading is above the upper third of the screen.
const marks = new Map([...document.querySelectorAll("nav li a")].map(a => [a.hash.slice(1), a]));
const chapters = [...document.querySelectorAll("main h1, main h2")].filter(each => marks.has(each.id));
function markChapter() {
  const chapter = chapters.findLast(each => each.getBoundingClientRect().top < innerHeight / 3);
  marks.forEach(a => a.removeAttribute("aria-current"));
  if (chapter) marks.get(chapter.id).setAttribute("aria-current", "true");
  document.getElementById("here").textContent = chapter ? ": " + marks.get(chapter.id).textContent : "";
}
addEventListener("scroll", markChapter, { passive: true });
markChapter();
// A prediction is asked: what happened is folded until the reader has said what will happen.
const folds = [];
function unfold(fold, said) {
  if (!fold.parts.length) return;
  fold.box.remove();
  const [first] = fold.parts;
  fold.parts.splice(0).forEach(part => { part.hidden = false; });
  if (!said) return;
  const words = element("p", { className: "said", tabIndex: -1 }, `You said: ${said}. This is what happens:`);
  first.prepend(words);
  words.focus();
}
// Put elements into a part that stays folded until then, or until the browser finds something in it.
function hide(fold, elements) {
  const part = element("div", { className: "fold" });
  elements[0].before(part);
  part.append(...elements);
  part.setAttribute("hidden", "until-found");
  part.addEventListener("beforematch", () => unfold(fold));
  fold.parts.push(part);
}
const foldOf = each => folds.find(fold => fold.parts.some(part => part.contains(each)));
for (const box of document.querySelectorAll(".choices")) {
  const fold = { box, parts: [] }, rest = [];
  const stays = each => each.matches(".commands") || each.matches("p") && /^Run\./.test(each.textContent);
  const isEnd = each => !each || each.matches("h1, h2, h3, .neighbours");
  let next = box.nextElementSibling;
  if (next.matches(".simulated")) { // it would show what happens, too
    hide(fold, [next]);
    next = fold.parts[0].nextElementSibling;
  }
  for (; !isEnd(next); next = next.nextElementSibling) {
    if (next.nextElementSibling?.matches(".choices")) break; // the next question
    if (rest.length || !stays(next)) rest.push(next);
  }
  hide(fold, rest);
  const choice = (words, className, said) =>
    element("button", { type: "button", className, onclick: () => unfold(fold, said) }, words);
  box.append(...box.dataset.choices.split("|").map(words => choice(words.trim(), "", words.trim())),
    choice("Show me", "skip"), element("p", { className: "quiet" }, "What happens is shown when you have chosen."));
  folds.push(fold);
}
const tools = document.getElementById("tools");
tools.append(element("button", { type: "button", id: "unfold", onclick: () => {
  folds.forEach(each => unfold(each));
  tools.querySelector("#unfold").remove();
} }, "Show all answers"));
addEventListener("beforeprint", () => folds.forEach(each => unfold(each)));
// A link to a part that is folded opens it.
function unfoldTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target && foldOf(target);
  if (fold) unfold(fold), target.scrollIntoView();
}
addEventListener("hashchange", unfoldTarget);
unfoldTarget();
// Search: the paragraphs and headings that have all the words.
const found = element("ol", { id: "found" });
const search = element("input", { type: "search", placeholder: "Search", "aria-label": "Search this page" });
const show = each => {
  const fold = foldOf(each);
  if (fold) unfold(fold);
  each.closest("details")?.setAttribute("open", "");
  each.scrollIntoView({ block: "center" });
};
const MOST_FOUND = 30;
// What stands around a word: whole words, and the word marked.
function around(each, word) {
  const text = each.textContent.replace(/\s+/g, " ").trim(), at = text.toLowerCase().indexOf(word);
  const begin = at < 40 ? 0 : text.indexOf(" ", at - 30) + 1, end = text.indexOf(" ", at + word.length + 40);
  const last = end < 0 ? text.length : end;
  return [(begin ? "… " : "") + text.slice(begin, at), element("mark", {}, text.slice(at, at + word.length)),
    text.slice(at + word.length, last) + (last < text.length ? " …" : "")];
}
search.oninput = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.join("").length < 3) return found.replaceChildren();
  const parts = [...document.querySelectorAll("main :is(h2, h3, p, li, td, pre)")]
    .filter(each => words.every(word => each.textContent.toLowerCase().includes(word)));
  found.replaceChildren(...parts.slice(0, MOST_FOUND).map(each => {
    const onclick = event => { event.preventDefault(); show(each); };
    return element("li", {}, element("a", { href: "#", onclick }, ...around(each, words[0])));
  }));
  if (parts.length > MOST_FOUND) found.append(element("li", {}, `The first ${MOST_FOUND} of ${parts.length} places.`));
  if (!parts.length) found.append(element("li", {}, "Nothing on this page has all of these words."));
};
tools.prepend(search, found);
// Each experiment is the simulation in a frame, which is made when it comes into view. Each frame holds a processor and
// some 30 MB, so those that were left longest ago become a button again.
const simulated = document.getElementById("play"), frames = [], MOST_FRAMES = 3;
const copy = simulated && URL.createObjectURL(new Blob([JSON.parse(simulated.textContent)], { type: "text/html" }));
const addressOf = box => copy ? copy + box.dataset.address.slice(box.dataset.address.indexOf("#"))
  : box.dataset.address;
function simulate(box) {
  const title = "Simulation: " + decodeURIComponent(box.dataset.address.replace(/.*#/, "")).replaceAll("+", " ");
  box.replaceChildren(element("iframe", { src: addressOf(box), title }));
  frames.push(box);
  if (frames.length > MOST_FRAMES) offer(frames.shift());
}
function offer(box) {
  box.replaceChildren(
    element("button", { type: "button", className: "start", onclick: () => simulate(box) }, "▶ Simulate this"));
}
const near = new IntersectionObserver(entries => {
  for (const { target } of entries.filter(each => each.isIntersecting)) {
    near.unobserve(target);
    simulate(target);
  }
}, { rootMargin: "200px" });
for (const box of document.querySelectorAll(".simulated")) near.observe(box);
addEventListener("message", ({ data, source }) => {
  const frame = frames.map(box => box.querySelector("iframe")).find(each => each.contentWindow === source);
  if (frame && data.playHeight > 0) frame.style.height = data.playHeight + "px";
});
// Each recording gets a button that plays it in place: buttons, drawing and code on one screen.
const small = matchMedia("(max-width: 560px)").matches;
codeLines = small ? 7 : 9;
function playerOf(box) {
  const player = new Player(element("div", { className: "controls", role: "group", "aria-label": "Replay" }));
  const picture = box.querySelector(".picture"), timed = [...picture.querySelectorAll("g.timed")];
  // Each recording has two parts in the drawing: all of it, and the moment that is magnified.
  const views = box.dataset.recordings.split(" ").map((name, i) =>
    new View(recordings.find(each => each.slug === name), picture, timed.slice(2 * i, 2 * i + 2), player));
  const details = element("div", { className: "details" }, ...views.map(({ recording, side, threads }) =>
    element("div", {}, element("h3", { hidden: views.length < 2 }, recording.name), threads, side)));
  if (small) player.buttons.querySelectorAll("button[aria-label]")
    .forEach(each => { each.textContent = each.textContent.replace(/[ \w]/g, ""); });
  box.prepend(player.controls);
  box.append(details);
  box.addEventListener("keydown", event => {
    if (player.controls.hidden) return;
    if (event.key === "Escape") box.querySelector(".close").click();
    else player.onKey(event);
  });
  // Once a hand has moved the drawing, it does not follow the cursor.
  for (const kind of ["touchstart", "wheel", "keydown"])
    picture.addEventListener(kind, () => { for (const view of views) view.scrollTo = () => {}; }, { passive: true });
  player.speed.value = "0"; // what matters: call by call
  player.show(views);
  return player;
}
for (const box of document.querySelectorAll(".replay")) {
  let player = null;
  const open = on => {
    player.play(on);
    box.classList.toggle("open", on);
    player.controls.hidden = !on;
    start.hidden = on;
    (on ? player.button : start).focus({ preventScroll: true });
    if (on) box.scrollIntoView();
  };
  const start = element("button", { type: "button", className: "start", onclick: () => {
    if (!player) {
      player = playerOf(box);
      const onclick = () => open(false);
      const named = { type: "button", className: "close", "aria-label": "Close (Esc)", onclick };
      player.buttons.append(element("button", named, small ? "✕" : "✕ Close"));
    }
    open(true);
  } }, box.dataset.recordings.includes(" ") ? "▶ Play these recordings" : "▶ Play this recording");
  box.prepend(start);
}
// A drawing in scenes: one at a time, by its buttons, by a tap on it, or by the arrows. On paper, all of them.
for (const box of document.querySelectorAll(".stepped")) {
  const scenes = [...box.querySelectorAll("li")];
  let now = 0;
  const button = (words, by) => element("button", { type: "button", onclick: () => show(now + by) }, words);
  const back = button("Back", -1), next = button("Next", 1);
  const show = number => {
    now = Math.max(0, Math.min(scenes.length - 1, number));
    scenes.forEach((each, i) => { each.hidden = i !== now; });
    back.setAttribute("aria-disabled", now === 0);
    next.setAttribute("aria-disabled", now === scenes.length - 1);
  };
  box.prepend(element("div", { className: "walk" }, back, next));
  box.querySelector("ol").setAttribute("aria-live", "polite");
  box.tabIndex = 0;
  box.addEventListener("click", event => { if (event.target.closest(".scene")) show(now + 1); });
  box.addEventListener("keydown", event => {
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: scenes.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  show(0);
}
