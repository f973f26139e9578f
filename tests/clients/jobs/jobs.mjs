// A queue of jobs on PostgreSQL and what works on it. Each line that comes asks for something, as JSON, and is answered with a line.
//
// `{"queue": n}` queues n jobs. `{"work": n, "concurrency": c, "pool": p}` works until these n are gone from the queue, and
// tells the seconds and the microseconds of this process's CPU that it took. The task does nothing.

import { EventEmitter } from "node:events";
import { createInterface } from "node:readline";
import { Logger, makeWorkerUtils, run } from "graphile-worker";

const connectionString = process.argv[2];
const QUEUED_AT_ONCE = 1000;
const LOOK_INTERVAL_MS = 5;
// It would write a line for each job.
const logger = new Logger(() => () => {});

async function queue(jobs) {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  for (let queued = 0; queued < jobs; queued += QUEUED_AT_ONCE) {
    const length = Math.min(QUEUED_AT_ONCE, jobs - queued);
    await utils.addJobs(Array.from({ length }, () => ({ identifier: "nothing", payload: {} })));
  }
  await utils.release();
  return {};
}

async function work({ work: jobs, concurrency, pool }) {
  const utils = await makeWorkerUtils({ connectionString, logger });
  const events = new EventEmitter();
  const carriedOut = new Promise((resolve, reject) => {
    let done = 0;
    events.on("job:complete", () => (done += 1) === jobs && resolve());
    events.on("job:error", ({ error }) => reject(error));
  });
  const [before, began] = [process.cpuUsage(), performance.now()];
  const taskList = { nothing: async () => {} };
  const runner = await run({
    connectionString, concurrency, maxPoolSize: pool, taskList, events, logger, noHandleSignals: true,
  });
  await carriedOut;
  // The last ones are being removed.
  const left = () =>
    utils.withPgClient(async (client) => {
      const { rows } = await client.query("SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) AS is_left");
      return rows[0].is_left;
    });
  while (await left()) await new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL_MS));
  const [seconds, cpu] = [(performance.now() - began) / 1000, process.cpuUsage(before)];
  await runner.stop();
  await utils.release();
  return { seconds, cpu_us: cpu.user + cpu.system };
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const answer = asked.queue === undefined ? await work(asked) : await queue(asked.queue);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
