// Brings a clone to where it can run: packages, a Node that is new enough, the built web app.
// Plain JavaScript without a dependency: it runs before anything is installed, on Node 20.
//
//   node scripts/setup.mjs start    what running needs
//   node scripts/setup.mjs test     what testing and developing need as well
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { takeLock } from './setup-lock.mjs';

const neededNodeMajor = 24;
const outputTailLines = 25;
const partialPrefix = join('web', 'dist.partial-');

/** A failure the person at the terminal can do something about: shown without a stack. */
class SetupError extends Error {}

/**
 * Names of the packages that `mode` needs on `platform` and that are not installed at their locked version.
 * `installed` is npm's own hidden lock file of node_modules, so an `npm ci` by hand counts too.
 */
export function missingPackages(lock, installed, { mode, platform }) {
  const missing = [];
  for (const [path, wanted] of Object.entries(lock.packages)) {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) continue;
    if (!isNeeded(wanted, mode, platform)) continue;
    const found = installed.packages[path];
    const same = wanted.link ? found?.resolved === wanted.resolved : found?.version === wanted.version;
    if (!same) missing.push(path);
  }
  return missing;
}

function isNeeded(wanted, mode, platform) {
  if (wanted.dev && mode === 'start') return false;
  if (!wanted.optional) return true;
  // What an optional package for another platform brings along names no platform itself, and what names
  // none and is optional may be missing.
  if (wanted.os === undefined && wanted.cpu === undefined) return false;
  return ['os', 'cpu', 'libc'].every(key => matches(wanted[key], platform[key]));
}

/** npm's rule for `os`, `cpu` and `libc`: one of the list, or none of those with a "!". */
function matches(list, value) {
  const names = list === undefined ? [] : [list].flat();
  if (names.includes(`!${value}`)) return false;
  const positive = names.filter(name => !name.startsWith('!'));
  return positive.length === 0 || positive.includes('any') || positive.includes(value);
}

function thisPlatform() {
  return {
    os: process.platform,
    cpu: process.arch,
    // Alpine and its like have this loader and no glibc one.
    libc: existsSync(`/lib/ld-musl-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.so.1`)
      ? 'musl'
      : 'glibc',
  };
}

function whatIsMissing(root, mode) {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  // npm's list does not know of a folder deleted by hand.
  const packages = Object.entries(readInstalled(root)).filter(([path]) =>
    existsSync(join(root, path, 'package.json')),
  );
  return missingPackages(
    lock,
    { packages: Object.fromEntries(packages) },
    { mode, platform: thisPlatform() },
  );
}

function readInstalled(root) {
  try {
    const installed = JSON.parse(readFileSync(join(root, 'node_modules/.package-lock.json'), 'utf8'));
    return installed.packages ?? {};
  } catch {
    // Absent, or cut short by a kill: either way nothing is known to be installed.
    return {};
  }
}

async function installPackages(root, mode) {
  assertWritable(existsSync(join(root, 'node_modules')) ? join(root, 'node_modules') : root);
  const what = mode === 'start' ? ['--omit=dev'] : ['--include=dev'];
  // --include: NODE_ENV=production or a user's own omit would leave out PostgreSQL and Node themselves.
  const args = ['ci', ...what, '--include=optional', '--ignore-scripts'];
  args.push('--loglevel=error', '--no-audit', '--no-fund');
  const [program, ...npm] = npmCommand();
  const label = mode === 'start' ? 'Installing packages (first start only)' : 'Installing packages';
  const { code, output } = await runWithProgress(label, program, [...npm, ...args], root);
  if (code === 0) return;
  throw new SetupError(`npm could not install the packages.\n${output}\n${adviceFor(output)}`);
}

/** The npm that runs this script, by its own Node: the one in node_modules is about to be replaced. */
function npmCommand() {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env;
  if (npm && node && basename(npm).startsWith('npm-cli') && existsSync(node)) return [node, npm];
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm'];
}

/** What to do about a failed npm, by what it printed. */
export function adviceFor(output) {
  if (/ENOSPC/.test(output)) return 'The disk is full. Free some space and start again.';
  if (/EACCES|EPERM|EROFS/.test(output)) {
    return 'A directory may not be written. Give this user the clone and its npm cache (npm config get cache), and start again.';
  }
  if (/in sync|EUSAGE/.test(output)) {
    return 'package.json and package-lock.json disagree. Take both from one commit, or run: npm install';
  }
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET|EIDLETIMEOUT|CERT/.test(output)) {
    return 'The package registry cannot be reached. Check the network, the registry (npm config get registry) and, behind a proxy, HTTPS_PROXY.';
  }
  if (/E40[134]|ETARGET/.test(output)) {
    return 'The package registry refused a package. Check which one is in use (npm config get registry) and its access token.';
  }
  return 'Start again; if it fails again, run this and read what it says: npm ci --ignore-scripts';
}

function assertWritable(directory) {
  try {
    accessSync(directory, constants.W_OK);
  } catch {
    throw new SetupError(
      `Something has to be installed, and this user may not write to ${directory}. Start once as its owner, or give this user the clone.`,
    );
  }
}

/** The Node that will run the program: npm puts node_modules/.bin before the system's. */
async function assertNode(root) {
  if (nodeMajor(process.version) >= neededNodeMajor) return;
  const bundled = bundledNode(root);
  const { code, output } = existsSync(bundled)
    ? await run(bundled, ['--version'], root)
    : { code: 1, output: '' };
  if (code === 0 && nodeMajor(output) >= neededNodeMajor) return;
  throw new SetupError(
    `opsfleet needs Node ${neededNodeMajor}. This one is ${process.version}, and npm has no newer one for ` +
      `${process.platform}-${process.arch}${output ? ` (${output})` : ''}. ` +
      `Install Node ${neededNodeMajor} from https://nodejs.org/en/download and start again.`,
  );
}

function nodeMajor(version) {
  return Number.parseInt(version.replace(/^v/, ''), 10);
}

function bundledNode(root) {
  return join(root, 'node_modules/.bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

/** SHA-256 (hex) over the names and contents of everything that the built web app is made from. */
export function webStamp(root) {
  const hash = createHash('sha256');
  // The forms are made from the API's schemas.
  const others = ['package-lock.json', 'server/openapi.json'];
  for (const path of [...others, ...filesBelow(root, 'sdk/src'), ...filesBelow(root, 'web')]) {
    const content = readFileSync(join(root, path));
    // With its length, so that no two different sets of files run together into the same bytes.
    hash.update(`${path.split(sep).join('/')}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

function filesBelow(root, directory) {
  if (!existsSync(join(root, directory))) return [];
  const files = [];
  for (const entry of readdirSync(join(root, directory), { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isFile()) files.push(path);
    if (entry.isDirectory() && !isMade(path)) files.push(...filesBelow(root, path));
  }
  return files.toSorted((a, b) => (a < b ? -1 : 1));
}

function isMade(path) {
  return basename(path) === 'node_modules' || path === join('web', 'dist') || path.startsWith(partialPrefix);
}

function webIsCurrent(root) {
  if (!existsSync(join(root, 'web/index.html'))) return true;
  const stamp = join(root, 'web/dist/.stamp');
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === webStamp(root);
}

async function buildWeb(root) {
  const web = join(root, 'web');
  assertWritable(web);
  for (const name of readdirSync(web)) {
    if (join('web', name).startsWith(partialPrefix))
      rmSync(join(web, name), { recursive: true, force: true, maxRetries: 3 });
  }
  // Taken before the build: a source edited meanwhile makes the next start build again.
  const stamp = webStamp(root);
  const partial = join(root, `${partialPrefix}${process.pid}`);
  const node = existsSync(bundledNode(root)) ? bundledNode(root) : process.execPath;
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  const args = [vite, 'build', '--logLevel', 'error', '--outDir', partial, '--emptyOutDir'];
  const { code, output } = await runWithProgress('Building the web app', node, args, web);
  if (code !== 0) throw new SetupError(`The web app could not be built.\n${output}`);
  // The stamp goes in last and the folder takes its place whole: a kill leaves no half build that is trusted.
  writeFileSync(join(partial, '.stamp'), stamp);
  rmSync(join(web, 'dist'), { recursive: true, force: true });
  renameSync(partial, join(web, 'dist'));
}

async function run(program, args, cwd) {
  const child = spawn(program, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: program.endsWith('.cmd'),
  });
  let lines = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', chunk => {
      lines = (lines + chunk)
        .split('\n')
        .slice(-outputTailLines - 1)
        .join('\n');
    });
  }
  return new Promise(resolve => {
    child.on('error', error => resolve({ code: 1, output: error.message }));
    child.on('close', code => resolve({ code, output: lines.trim() }));
  });
}

/** `run`, saying so: on a terminal one line that counts the seconds, elsewhere a line before and one after. */
async function runWithProgress(label, program, args, cwd) {
  const startMs = performance.now();
  const seconds = () => Math.round((performance.now() - startMs) / 1000);
  const show = () => process.stdout.write(`\r${label}… ${seconds()} s`);
  if (!process.stdout.isTTY) console.log(`${label}…`);
  const timer = process.stdout.isTTY ? setInterval(show, 1000) : undefined;
  if (timer) show();
  const result = await run(program, args, cwd);
  clearInterval(timer);
  if (timer) process.stdout.write(`\r${label}: ${seconds()} s\n`);
  else console.log(`${label}: ${result.code === 0 ? 'done' : 'failed'} after ${seconds()} s`);
  return result;
}

async function setUp(root, mode) {
  if (whatIsMissing(root, mode).length === 0 && webIsCurrent(root)) return assertNode(root);
  const key = createHash('sha256').update(root).digest('hex').slice(0, 16);
  const lock = join(tmpdir(), `opsfleet-setup-${key}`);
  const release = await takeLock(lock, tellOfWait).catch(error => {
    throw new SetupError(error.message);
  });
  try {
    // Looked at again: the other set-up may have done it.
    if (whatIsMissing(root, mode).length > 0) await installPackages(root, mode);
    await assertNode(root);
    if (!webIsCurrent(root)) await buildWeb(root);
  } finally {
    release();
  }
}

function tellOfWait(owner) {
  console.log(`Another set-up of this clone is at work (process ${owner}); waiting for it.`);
}

async function main() {
  const mode = process.argv[2];
  if (mode !== 'start' && mode !== 'test') throw new SetupError('Usage: node scripts/setup.mjs start|test');
  await setUp(realpathSync(dirname(dirname(fileURLToPath(import.meta.url)))), mode);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch(error => {
    console.error(error instanceof SetupError ? error.message : error);
    process.exitCode = 1;
  });
}
