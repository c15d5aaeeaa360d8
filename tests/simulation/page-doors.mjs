// You are the wait: find the client that has something to say, as poll, select and epoll do. Then the same with
// 10,000 descriptors. Calls cost nothing in the simulated clock, so this page charges what was measured.
import {element, button} from "./page-elements.mjs";
import {count} from "./page-run.mjs";

const DOORS = 12, SIDE = 100;
const WALL = "The wall: FD_SETSIZE. select has no bit for a door after it.";

const doors = looks => looks === 1 ? "one door" : `${looks} doors`;

const TURNS = [
  { call: "poll", words: "You are poll. A client knocked at one of these twelve doors. Find it.",
    after: looks => `You looked at ${doors(looks)}. poll looks at all twelve. ` +
      `Then it returns, the server answers, and it calls you again. You remember nothing.` },
  { call: "poll", words: "You are poll again. Another knock.",
    after: looks => `You looked at ${doors(looks)}. That is poll: ` +
      `each turn begins at the first door, whatever you saw in the last turn.` },
  { call: "select", wall: true,
    words: "You are select. Another knock. You have the same doors, and a wall after the last.",
    after: looks => `You looked at ${doors(looks)}. select works as poll does, ` +
      `and it has 1,024 doors at most: the server may not accept a client behind the wall.` },
  { call: "epoll", cards: true,
    words: "You are epoll. Before you may wait, write a card for each door: click each of them once.",
    after: () => "Twelve cards, one epoll_ctl for each. That is paid once, and the kernel keeps the cards.",
    next: "Now wait" },
  { call: "epoll", note: true, words: "You are epoll. A knock, and the kernel hands you a note.",
    after: looks => `You looked at ${doors(looks)}. The kernel put that door on a list when the client knocked.` },
  { call: "epoll", note: true, words: "Another knock, another note.",
    after: looks => `You looked at ${doors(looks)}. Twelve doors or ten thousand: the note is as short.` },
];

export class Doors {
  // measured: {"04-poll": {0: µs, …, 10000: µs}, "05-epoll": …}, from tests/bench/results, with the machine.
  constructor(root, measured) {
    this.root = root;
    this.measured = measured;
    this.turn = 0;
    this.knocks = [7, 4, 9, 0, 7, 2];   // the same for everybody, so that a test can play it
    this.show();
  }

  show() {
    const turn = TURNS[this.turn];
    this.looks = new Set();
    this.found = false;
    this.knock = this.knocks[this.turn];
    this.words = element("p", { role: "status", className: "words" }, turn.words);
    this.doors = Array.from({ length: DOORS }, (_, i) => {
      const door = button(String(i + 1), () => this.open(i));
      door.className = "door";
      door.setAttribute("aria-label", `Door ${i + 1}, closed`);
      return door;
    });
    this.next = element("div", { className: "choices" });
    const row = element("div", { className: "doors" }, ...this.doors,
      ...turn.wall ? [element("div", { className: "wall", title: WALL }, "wall")] : []);
    const note = turn.note ? [element("p", { className: "note" }, `The note says: door ${this.knock + 1}.`)] : [];
    this.root.replaceChildren(element("h2", { tabIndex: -1 }, `${turn.call}`),
      this.words, ...note, row, this.next);
  }

  open(i) {
    if (this.found) return;
    const turn = TURNS[this.turn], door = this.doors[i];
    this.looks.add(i);
    if (turn.cards) {
      door.classList.add("card");
      door.setAttribute("aria-label", `Door ${i + 1}, has a card`);
      door.textContent = "✎ " + (i + 1);
      if (this.looks.size === DOORS) this.done(turn);
      else this.words.textContent = `${turn.words} ${this.looks.size} of 12 written.`;
      return;
    }
    const here = i === this.knock;
    door.classList.add(here ? "knock" : "empty");
    door.setAttribute("aria-label", `Door ${i + 1}, ${here ? "a client" : "nobody"}`);
    door.textContent = here ? "✉" : "–";
    if (here) this.done(turn);
    else if (turn.note) this.words.textContent = "Nobody. (Read the note.)";
    else this.words.textContent = `Nobody. You have looked at ${this.looks.size} of 12.`;
  }

  done(turn) {
    this.found = true;
    this.words.textContent = turn.after(this.looks.size);
    const last = this.turn === TURNS.length - 1;
    const next = button(last ? "Now with ten thousand doors" : turn.next || "Wait again", () => {
      if (last) return this.showDots();
      this.turn++;
      this.show();
      this.root.querySelector("h2").focus();
    });
    next.className = "act";
    this.next.replaceChildren(next);
    next.focus();
  }

  // ---- a hundred by a hundred

  showDots() {
    this.turns = 0;
    this.fields = ["04-poll", "05-epoll"].map(stage => {
      const canvas = element("canvas", { width: 3 * SIDE, height: 3 * SIDE, role: "img" });
      canvas.setAttribute("aria-label", `10,000 descriptors, as ${stage} looks at them`);
      const words = element("p", {});
      const box = element("div", { className: "box field" }, element("h3", {}, stage), canvas, words);
      return { stage, canvas, words, box };
    });
    this.words = element("p", { role: "status" },
      "Each dot is a connection. One client in 10,000 sends a request. How many dots does the server look at?");
    const send = button("One client sends /fast", () => this.sweep());
    send.className = "act";
    const { machine } = this.measured;
    this.root.replaceChildren(element("h2", { tabIndex: -1 }, "Ten thousand doors"), this.words,
      element("div", { className: "choices" }, send),
      element("div", { className: "fields" }, ...this.fields.map(each => each.box)),
      element("p", { className: "quiet" },
        `The dots are counted; the time is measured and not simulated: the processor time of the server for one ` +
        `request with 10,000 idle clients (${machine}; tests/bench/results/scale.tsv). In the simulation, ` +
        `calls cost nothing, and all servers are alike.`));
    for (const field of this.fields) this.paint(field, 0, -1);
    this.root.querySelector("h2").focus();
  }

  // seen: how many of the 20,000 looks of 04 are done: first the kernel's, then the program's.
  paint({ stage, canvas }, seen, ready) {
    const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const color = name => style.getPropertyValue(name);
    const [rest, kernel, program, found] = ["--line", "--kernel", "--program", "--found"].map(color);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const bands = stage === "04-poll" ? [[program, 0, Math.max(0, seen - SIDE * SIDE)],
      [kernel, Math.max(0, seen - SIDE * SIDE), Math.min(seen, SIDE * SIDE)],
      [rest, Math.min(seen, SIDE * SIDE), SIDE * SIDE]]
      : [[rest, 0, SIDE * SIDE]];
    for (const [fill, from, to] of bands) {
      context.fillStyle = fill;
      for (let i = from; i < to; i++) context.fillRect(i % SIDE * 3, (i / SIDE | 0) * 3, 2, 2);
    }
    if (ready >= 0) {
      context.fillStyle = found;
      context.fillRect(ready % SIDE * 3 - 2, (ready / SIDE | 0) * 3 - 2, 6, 6);
    }
  }

  sweep() {
    this.turns++;
    const ready = (4711 + 1931 * this.turns) % (SIDE * SIDE), looks = 2 * SIDE * SIDE;
    const began = performance.now(), still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const [poll, epoll] = this.fields;
    const turn = this.turns;
    const finish = () => {
      for (const { stage, words } of this.fields) {
        const total = this.turns * (stage === "04-poll" ? looks : 1);
        const us = this.measured[stage][10000], none = this.measured[stage][0];
        words.textContent = `${count(total, "look")} in ${count(this.turns, "turn")}` +
          `${turn > 1 ? `: ${duration(us * turn)}` : ""}. ` +
          `Measured: ${duration(us)} for each request, and ${duration(none)} without idle clients.`;
      }
      this.words.textContent = "04 looked at each dot twice: the kernel at each of them, and then the program. " +
        "05 was told which one.";
    };
    const step = now => {
      if (turn !== this.turns) return;
      const seen = still ? looks : Math.min(looks, (now - began) / 1600 * looks | 0);
      this.paint(poll, seen, seen >= looks ? ready : -1);
      if (seen < looks) requestAnimationFrame(step);
      else finish();
    };
    this.paint(epoll, 0, ready);
    requestAnimationFrame(step);
  }
}

export const duration = us => us >= 1000 ? `${(us / 1000).toFixed(1)} ms` : `${us.toFixed(1)} µs`;
