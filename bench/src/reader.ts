import { Agent, request } from 'undici';
import { paced } from './references/pace.ts';
import { quantile } from './report.ts';

/** What the parent passes as its one argument, in JSON. */
export type ReadRun = {
  url: string;
  token: string;
  /** Asked for in turn. */
  paths: readonly string[];
  requestsPerSecond: number;
  seconds: number;
};

/** What this program prints, in JSON. */
export type ReadResult = {
  answers: number;
  /** Requests that were not answered with 200. */
  failures: number;
  /** From the moment a request was due, not sent: one that waits for others waits all the same. */
  latencyMs: { p50: number; p99: number; max: number };
};

/** Reads an API at an even pace, whatever it answers. */
async function read(run: ReadRun): Promise<ReadResult> {
  const agent = new Agent({ connections: 16, pipelining: 1 });
  const headers = { authorization: `Bearer ${run.token}` };
  const latenciesMs: number[] = [];
  let failures = 0;
  const asked: Promise<void>[] = [];
  const total = Math.ceil(run.requestsPerSecond * run.seconds);
  const ask = async (index: number, dueMs: number): Promise<void> => {
    const path = run.paths[index % run.paths.length]!;
    try {
      const { statusCode, body } = await request(run.url + path, { dispatcher: agent, headers });
      await body.dump();
      if (statusCode !== 200) failures++;
    } catch {
      failures++;
    }
    latenciesMs.push(performance.now() - dueMs);
  };
  const beganMs = performance.now();
  await paced(total, run.requestsPerSecond, index => {
    asked.push(ask(index, beganMs + (1000 * (index + 1)) / run.requestsPerSecond));
  });
  await Promise.all(asked);
  await agent.close();
  const sorted = Float64Array.from(latenciesMs).toSorted();
  return {
    answers: total - failures,
    failures,
    latencyMs: { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: quantile(sorted, 1) },
  };
}

const run: ReadRun = JSON.parse(process.argv[2] ?? '');
process.stdout.write(`${JSON.stringify(await read(run))}\n`);
