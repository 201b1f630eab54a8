import { Line, type LineOptions } from './references/line.ts';

/** What the parent passes as its one argument, in JSON. */
export type LoadRun = LineOptions & {
  /** Keep-alive connections, each with one request on it at any time. */
  connections: number;
  /** For so long requests are made and not counted, then for so long they are. */
  warmUpMs: number;
  measuredMs: number;
};

/** What this program prints, in JSON. `bodyBytes` is the length of the last answer's body. */
export type LoadResult = { answers: number; wallMs: number; bodyBytes: number };

/** Asks one address as fast as it answers. Any answer but 200 ends the run with an error. */
function load(run: LoadRun): Promise<LoadResult> {
  const lines = Array.from({ length: run.connections }, () => new Line(run));
  const countFromMs = performance.now() + run.warmUpMs;
  const countUntilMs = countFromMs + run.measuredMs;
  let answers = 0;
  return new Promise((resolve, reject) => {
    const ask = (line: Line): void => {
      line.ask((error, answer) => {
        if (answer?.status !== 200) {
          reject(error ?? new Error(`${run.path} was answered ${answer?.status}`));
          return;
        }
        const nowMs = performance.now();
        if (nowMs >= countFromMs) answers++;
        if (nowMs < countUntilMs) {
          ask(line);
          return;
        }
        for (const each of lines) each.close();
        resolve({ answers, wallMs: nowMs - countFromMs, bodyBytes: answer.bodyBytes });
      });
    };
    for (const line of lines) ask(line);
  });
}

const run: LoadRun = JSON.parse(process.argv[2] ?? '');
process.stdout.write(`${JSON.stringify(await load(run))}\n`);
