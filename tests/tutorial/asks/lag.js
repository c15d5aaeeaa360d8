// Node's own alarm for a loop that something blocks.
const { monitorEventLoopDelay } = require("perf_hooks");

function mistake() {
  const end = Date.now() + 500;
  while (Date.now() < end);
}

const lag = monitorEventLoopDelay({ resolution: 10 });
lag.enable();
setTimeout(mistake, 100);
setTimeout(() => {
  lag.disable();
  console.log(`the loop was ${(lag.max / 1e9).toFixed(1)} s late`);
}, 700);
