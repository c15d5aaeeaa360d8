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
