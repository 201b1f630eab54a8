import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** `npm run dev`: the control plane, restarting when its sources change, and the dashboard with hot reload. */
const root = fileURLToPath(new URL('..', import.meta.url));
const node = process.execPath;

const children: ChildProcess[] = [
  spawn(node, ['--watch', '--watch-preserve-output', 'server/src/main.ts'], { cwd: root, stdio: 'inherit' }),
  spawn(node, ['../node_modules/vite/bin/vite.js', '--clearScreen', 'false'], {
    cwd: `${root}/web`,
    stdio: 'inherit',
  }),
];

// Ctrl-C reaches the children by themselves; this waits until both have stopped.
process.on('SIGINT', () => undefined);
for (const child of children) {
  child.once('exit', () => {
    for (const other of children) other.kill('SIGINT');
  });
}
