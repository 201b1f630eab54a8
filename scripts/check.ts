import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * `npm run check`: everything that can be found out without running the product. Prints a line for each step
 * and, where one fails, what it said; all steps run, so that one look shows everything.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name: string): string => `${root}/node_modules/.bin/${name}`;
const node = process.execPath;

const steps: readonly { name: string; command: string; args: string[] }[] = [
  { name: 'types', command: bin('tsc'), args: ['-p', 'tsconfig.json'] },
  { name: 'types of the dashboard', command: bin('tsc'), args: ['-p', 'web/tsconfig.json'] },
  { name: 'lint', command: bin('oxlint'), args: ['--type-aware', '--deny-warnings', '.'] },
  { name: 'format', command: bin('biome'), args: ['check', '--error-on-warnings', '.'] },
  { name: 'unused code and dependencies', command: bin('knip'), args: [] },
  { name: 'generated files are current', command: node, args: ['scripts/generate.ts', '--check'] },
];

let failures = 0;
for (const { name, command, args } of steps) {
  const startedMs = performance.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const isFine = status === 0;
  console.log(`${isFine ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (isFine) continue;
  failures += 1;
  console.log(`${stdout}${stderr}${error?.message ?? ''}`);
}
process.exit(failures === 0 ? 0 : 1);
