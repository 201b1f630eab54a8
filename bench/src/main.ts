import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { Context, type Row } from './context.ts';
import { stopEverything } from './processes.ts';
import { formatJson, formatTable, type Measurement } from './report.ts';
import { api } from './rows/api.ts';
import { chaos } from './rows/chaos.ts';
import { fleet10k } from './rows/fleet-10k.ts';
import { fleet100k } from './rows/fleet-100k.ts';
import { history } from './rows/history.ts';
import { memory } from './rows/memory.ts';
import { outage } from './rows/outage.ts';
import { pollCost } from './rows/poll-cost.ts';
import { references } from './rows/references.ts';
import { round } from './rows/round.ts';
import { schedule } from './rows/schedule.ts';
import { simulator } from './rows/simulator.ts';
import { store } from './rows/store.ts';

/** Everything that is measured, in the order of the report. A new row is one file and one entry here. */
const ROWS: readonly Row[] = [
  references,
  simulator,
  pollCost,
  schedule,
  round,
  api,
  store,
  history,
  memory,
  fleet10k,
  fleet100k,
  chaos,
  outage,
];

const USAGE = `Usage: npm run bench -- [--quick] [--json] [--seed TEXT] [--seconds N] [ROW ...]

  --seed TEXT   decides what happens in chaos; another one each time unless given, and printed
  --seconds N   how long fleet-10k, fleet-100k and chaos measure, from 1 to 86400
  --quick       a smoke run of a few seconds for each row
  --json        one JSON line for each measurement instead of a table
  ROW           only these: ${ROWS.map(row => row.name).join(', ')}`;

async function main(argv: readonly string[]): Promise<void> {
  const flags = {
    quick: { type: 'boolean' },
    json: { type: 'boolean' },
    seed: { type: 'string' },
    seconds: { type: 'string' },
    help: { type: 'boolean' },
  } as const;
  const { values, positionals } = parseArgs({ args: [...argv], options: flags, allowPositionals: true });
  if (values.help === true) {
    console.log(USAGE);
    return;
  }
  const unknown = positionals.find(name => !ROWS.some(row => row.name === name));
  if (unknown !== undefined) throw new TypeError(`There is no row "${unknown}"`);

  const seed = values.seed ?? randomBytes(4).toString('hex');
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
  if (seconds !== undefined && !(Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400)) {
    throw new TypeError(`--seconds must be a whole number from 1 to 86400, not "${values.seconds}"`);
  }
  const context = new Context({ scale: values.quick === true ? 'quick' : 'full', seed, seconds });
  const measurements: Measurement[] = [];
  for (const row of ROWS) {
    if (positionals.length > 0 && !positionals.includes(row.name)) continue;
    console.error(`measuring ${row.name} (seed ${seed})`);
    try {
      measurements.push(...(await row.run(context)));
    } catch (error) {
      // What the other rows have measured took minutes, and is worth printing.
      console.error(`${row.name} failed:`, error);
      process.exitCode = 1;
    }
  }
  console.log(values.json === true ? formatJson(measurements) : formatTable(measurements));
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void stopEverything().then(() => process.exit(1));
  });
}
try {
  await main(process.argv.slice(2));
} catch (error) {
  // A wrong flag is the caller's mistake and needs no stack; anything else is ours.
  if (!(error instanceof TypeError)) throw error;
  console.error(`bench: ${error.message}\n\n${USAGE}`);
  process.exitCode = 1;
}
