import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { portOf, serve } from './hostile/harness.ts';

const program = fileURLToPath(new URL('./few-descriptors.ts', import.meta.url));
const limit = 400;
const origins = 500;

it('a process with fewer descriptors than servers asks all of them, and no request fails for it', async () => {
  const beast = await serve();
  const script = `ulimit -n ${limit} && exec "$0" "$@"`;
  const argv = [process.execPath, program, portOf(beast), String(origins)];
  const { stdout } = await promisify(execFile)('sh', ['-c', script, ...argv]);
  const found = JSON.parse(stdout);
  expect(found).toMatchObject({ limit, outcomes: { ok: 3 * origins }, stats: { staleRetries: 0 } });
  expect(found.stats.idleConnections).toBeLessThanOrEqual(0.8 * limit);
  // The second time in turn, those were used again.
  expect(found.stats.idleConnections).toBeGreaterThan(0);
  expect(found.stats.connectionsOpened).toBeLessThan(3 * origins - found.stats.idleConnections / 2);
  expect(found.stats.closedForDescriptors).toBeGreaterThan(0);
});
