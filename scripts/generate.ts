import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openApiDocument } from '../server/src/platform/http/openapi.ts';
import { routes } from '../server/src/routes.ts';
import { version } from '../server/src/version.ts';

/**
 * `npm run generate`: writes what follows from the routes, the OpenAPI document and the SDK's types. With
 * --check it writes nothing and fails where a committed file differs.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const isCheck = process.argv.includes('--check');

function settle(path: string, content: string): boolean {
  const file = `${root}/${path}`;
  const current = readCurrent(file);
  if (current === content) return true;
  if (isCheck) console.log(`${path} is not current; run: npm run generate`);
  else writeFileSync(file, content);
  return !isCheck;
}

function readCurrent(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

const document = `${JSON.stringify(openApiDocument(routes, version), null, 2)}\n`;
const isDocumentCurrent = settle('server/openapi.json', document);
// openapi-typescript needs the compiler of its own workspace (TypeScript 5), hence a process of its own.
const generated = spawnSync(
  process.execPath,
  ['node_modules/openapi-typescript/bin/cli.js', '../server/openapi.json', '--default-non-nullable=false'],
  { cwd: `${root}/sdk`, encoding: 'utf8' },
);
if (generated.status !== 0) throw new Error(`openapi-typescript failed: ${generated.stderr}`);
const areTypesCurrent = settle('sdk/src/schema.generated.ts', generated.stdout);
process.exit(isDocumentCurrent && areTypesCurrent ? 0 : 1);
