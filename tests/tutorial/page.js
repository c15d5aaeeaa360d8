// A button on each block of commands copies the commands alone. Without JavaScript the page has no buttons.
for (const box of document.querySelectorAll(".commands")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    const words = box.querySelector("code").textContent.trim() + "\n";
    try {
      await navigator.clipboard.writeText(words);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(box.querySelector("code"));
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  box.append(button);
}
// Mark the chapter that is in sight.
const marks = new Map([...document.querySelectorAll("nav li a")].map(a => [a.hash.slice(1), a]));
const watcher = new IntersectionObserver(entries => {
  for (const entry of entries)
    if (entry.isIntersecting) {
      marks.forEach(a => a.removeAttribute("aria-current"));
      marks.get(entry.target.id).setAttribute("aria-current", "true");
    }
}, { rootMargin: "0px 0px -80% 0px" });
for (const heading of document.querySelectorAll("main h2"))
  if (marks.has(heading.id))
    watcher.observe(heading);
// Each recording gets a button that plays it in place.
function playerOf(box) {
  const player = new Player(element("div", { className: "controls", role: "group", "aria-label": "Replay" }));
  const picture = box.querySelector(".picture"), timed = [...picture.querySelectorAll("g.timed")];
  // Each recording has two parts in the drawing: all of it, and the moment that is magnified.
  const views = box.dataset.recordings.split(" ").map((name, i) =>
    new View(recordings.find(each => each.slug === name), picture, timed.slice(2 * i, 2 * i + 2), player));
  const details = element("div", { className: "details" }, ...views.map(({ recording, side, threads }) =>
    element("div", {}, element("h3", { hidden: views.length < 2 }, recording.name), side, threads)));
  box.prepend(player.controls);
  box.append(details);
  box.addEventListener("keydown", event => player.controls.hidden || player.onKey(event));
  player.show(views);
  player.go(player.first);
  return player;
}
for (const box of document.querySelectorAll(".replay")) {
  let player = null;
  const open = on => {
    player.play(on);
    box.classList.toggle("open", on);
    player.controls.hidden = !on;
    start.hidden = on;
    (on ? player.button : start).focus();
  };
  const start = element("button", { type: "button", className: "start", onclick: () => {
    if (!player) {
      player = playerOf(box);
      const onclick = () => open(false);
      player.buttons.append(element("button", { type: "button", className: "close", onclick }, "✕ Close"));
    }
    open(true);
  } }, box.dataset.recordings.includes(" ") ? "▶ Play these recordings" : "▶ Play this recording");
  box.prepend(start);
}
