// Sends events by Segment's client for Node, with the client's own settings.
// `node send.js URL COUNT` prints, as JSON, what the client reported of events given up.
const { Analytics } = require("@segment/analytics-node");

const [url, count] = [process.argv[2], Number(process.argv[3])];
const client = new Analytics({ writeKey: "the-write-key", host: url });
const givenUp = [];
const [EACH, WAITING] = [10, 1500]; // events of a customer in a row; events not answered yet
let waiting = 0;
let more = () => {};
client.on("error", (error) => givenUp.push([String(error.reason ?? error).slice(0, 200), 1]));

function done() {
  waiting -= 1;
  more();
}

async function until(most) {
  while (waiting > most) await new Promise((resolve) => (more = resolve));
}

async function send() {
  const half = Math.floor(count / 2);
  for (let number = 0; number < count; number += 1) {
    const customer = Math.floor(number / EACH) % 200;
    const [userId, anonymousId] = [`node-${customer}`, `node-a${customer}`];
    if (number >= half && number % EACH === 0 && number < half + 200 * EACH) {
      waiting += 1;
      client.identify({ userId, anonymousId, traits: { plan: "pro" } }, done);
    }
    waiting += 1;
    const properties = { client: "node", number, amount: 2, items: [{ sku: "a" }, { sku: "b" }] };
    const who = number < half ? { anonymousId } : { userId };
    client.track({ event: "Order Completed", properties, ...who }, done);
    await until(WAITING);
  }
  await until(0);
  await client.closeAndFlush();
  console.log(JSON.stringify(givenUp));
}

send();
