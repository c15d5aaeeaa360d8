// Small helpers to build the page.
export function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function button(words, onclick) {
  return element("button", { type: "button", onclick }, words);
}

export const $ = id => document.getElementById(id);

// A sentence in which each place in the sources stays in one piece.
export function sentence(words) {
  const parts = words.split(/([\w/.-]+\.c:\d+)/)
    .map((part, i) => i % 2 ? element("code", { className: "place" }, part) : part);
  return element("p", { className: "say" }, ...parts);
}
