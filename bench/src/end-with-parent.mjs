import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded (`node --import`) into programs that the bench starts. Their standard input is a pipe that closes
 * when the bench ends, however it ends: a bench that is killed leaves nothing running behind it. Plain
 * JavaScript, because the first TypeScript file costs a process the 20 MB of what strips its types.
 */
if (isMainThread) {
  process.stdin.once('end', () => process.kill(process.pid, 'SIGTERM')).resume();
  // The pipe alone keeps no program from ending by itself.
  process.stdin.unref();
}
