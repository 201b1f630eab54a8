import { parseArgs } from 'node:util';
import { simulate } from './simulate.ts';

const USAGE = `Usage: npm run simulate -- [--seeds N] [--from SEED] [--seed SEED]

  --seeds N    how many fleets to live through (100)
  --from SEED  the first one (1)
  --seed SEED  this one alone, with everything that befell it`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    from: { type: 'string' },
    seed: { type: 'string' },
    help: { type: 'boolean' },
  },
});
const number = (text: string | undefined, fallback: number): number => {
  if (text === undefined) return fallback;
  if (!/^\d{1,9}$/.test(text)) throw new TypeError(`${JSON.stringify(text)} is no whole number\n\n${USAGE}`);
  return Number(text);
};

async function main(): Promise<void> {
  if (values.help === true) {
    console.log(USAGE);
    return;
  }
  const one = values.seed !== undefined;
  const first = number(values.seed ?? values.from, 1);
  const count = one ? 1 : number(values.seeds, 100);
  let polls = 0;
  const rows = new Map<string, number>();
  let failed = 0;
  for (let seed = first; seed < first + count; seed += 1) {
    const outcome = await simulate(seed);
    polls += outcome.polls;
    for (const [fate, count] of Object.entries(outcome.rows)) rows.set(fate, (rows.get(fate) ?? 0) + count);
    if (one)
      for (const { atMs, name } of outcome.faults) console.log(`${String(atMs).padStart(9)} ms  ${name}`);
    if (outcome.broken.length === 0) continue;
    failed += 1;
    console.log(`seed ${seed} broke its promises (npm run simulate -- --seed ${seed}):`);
    for (const promise of outcome.broken.slice(0, one ? undefined : 5)) console.log(`  ${promise}`);
  }
  console.log(`${count} seeds, ${polls} health checks, ${failed} seeds failed`);
  console.log(`rows of history: ${[...rows].map(([fate, sum]) => `${sum} ${fate}`).join(', ')}`);
  if (failed > 0) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
