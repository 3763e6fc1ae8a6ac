// A service with an HTTP check, and a watched key, through the library consul.
"use strict";

const assert = require("node:assert");
const http = require("node:http");
const { once } = require("node:events");
const Consul = require("consul");

const NAME = "client-node";
const KEY = "clients/node";
const MILLISECONDS_MAX = 20_000;

// Follows a query with the library's own watch until it shows what is waited for.
function until(consul, what, method, options, isThere) {
  const watch = consul.watch({ method, options: { wait: "5s", ...options } });
  return new Promise((resolve, reject) => {
    let last;
    const timer = setTimeout(
      () => reject(new Error(`no ${what}, but ${JSON.stringify(last)}`)),
      MILLISECONDS_MAX,
    );
    watch.on("change", (data) => {
      last = data;
      if (isThere(data)) {
        clearTimeout(timer);
        resolve(data);
      }
    });
    watch.on("error", (error) => {
      last = error.message;
    });
  }).finally(() => watch.end());
}

async function main() {
  const [host, port] = process.env.CONSUL_HTTP_ADDR.split(":");
  const consul = new Consul({ host, port });

  // What the check asks; answers with whatever status it is told to.
  let status = 200;
  const target = http.createServer((_, response) => {
    response.statusCode = status;
    response.end();
  });
  target.listen(0, "127.0.0.1");
  await once(target, "listening");
  const targetPort = target.address().port;

  await consul.agent.service.register({
    name: NAME,
    id: NAME,
    port: targetPort,
    tags: ["v1"],
    check: { http: `http://127.0.0.1:${targetPort}/`, interval: "1s", timeout: "1s" },
  });
  const becomes = (wanted) =>
    until(consul, wanted, consul.health.checks, { service: NAME }, (rows) =>
      rows.length === 1 && rows[0].Status === wanted);
  await becomes("passing");
  status = 500;
  await becomes("critical");
  assert.deepStrictEqual(await consul.health.service({ service: NAME, passing: true }), []);
  status = 200;
  await becomes("passing");
  const [instance] = await consul.health.service({ service: NAME, passing: true });
  assert.deepStrictEqual([instance.Service.Port, instance.Service.Tags], [targetPort, ["v1"]]);

  await consul.kv.set(KEY, "first");
  const changed = until(consul, "change of the key", consul.kv.get, { key: KEY }, (entry) =>
    entry && entry.Value === "changed");
  assert.strictEqual(await consul.kv.set(KEY, "changed"), true);
  await changed;
  await consul.kv.del(KEY);
  assert.ok(!(await consul.kv.get(KEY)));

  await consul.agent.service.deregister(NAME);
  assert.ok(!(NAME in (await consul.agent.services())));
  target.closeAllConnections();
  target.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
